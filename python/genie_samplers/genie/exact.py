"""Networks that return the exact derivative of their epsilon, for plans of derivative="exact"."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .._arguments import choice, real
from ..guidance import ClassifierFree
from ..models import Label, WrappedModel
from .derivative import differentiate
from .extended import ExtendedModel
from .path import FlowPath, flow_path
from .tangents.directional import METHODS
from .tangents.linearize import linearize

__all__ = ["DERIVATIVES", "ExactGuidance", "ExactModel", "exact"]

DERIVATIVES = ("gamma_d_epsilon", "gamma2_d2_epsilon")


@dataclass(frozen=True)
class ExactModel(ExtendedModel):
    """What the network predicts and its derivatives along its own flow; made by :func:`exact`."""

    order: int
    method: str

    @property
    def further(self) -> tuple[str, ...]:
        return DERIVATIVES[: self.order]

    def label(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        """[rows] -> [rows, 14]: the columns of :class:`FlowPath`."""
        return _columns(self.model, times)

    def __call__(self, x: Tensor, t: Tensor, **cond: object) -> tuple[Tensor, ...]:
        """x [B, ...], t [B, 14] -> the network's prediction, gamma_d_epsilon, ..., each of x's shape."""

        def network(x: Tensor, label: Tensor) -> Tensor:
            return self.model(x, label, **cond)

        return _outputs(network, x, t, self.count, self.method)


@dataclass(frozen=True)
class ExactGuidance(ClassifierFree):
    """The guided prediction as a single one, with its derivatives along the guided flow; made by :func:`exact`."""

    scale: float = 1.0
    order: int = 1
    method: str = "forward"
    count: int = 2

    @property
    def outputs(self) -> tuple[str, ...]:
        return (*self.conditional.outputs, *DERIVATIVES[: self.order])[: self.count]

    @property
    def label(self) -> Label:
        """[rows] -> [rows, 14], as of :class:`ExactModel`."""
        return lambda times: _columns(self.conditional, times)

    def first(self, count: int) -> ExactGuidance:
        return replace(self, count=count)

    def __call__(self, x: Tensor, t: Tensor, **cond: object) -> tuple[Tensor, ...]:
        pair = super().__call__

        def network(x: Tensor, label: Tensor) -> Tensor:
            conditional, unconditional = pair(x, label, **cond)
            return self.scale * conditional + (1.0 - self.scale) * unconditional

        return _outputs(network, x, t, self.count, self.method)


def exact(
    model: WrappedModel | ClassifierFree, *, order: int = 1, scale: float | None = None, method: str = "auto"
) -> ExactModel | ClassifierFree:
    """A model for plans of derivative="exact": outputs (prediction, "gamma_d_epsilon"), no head and no training.

    model: from models.wrap, or a pair from guidance.classifier_free. order: 2 adds "gamma2_d2_epsilon". method: as of
    :func:`total_derivative`. A row of the plan that reads no derivative costs one plain evaluation.
    Guidance: without ``scale`` the pair's outputs are doubled, each half with the derivative along its own flow, for
    ``plan.guided(w)``; what the plan then mixes, as published, is not the derivative of the guided epsilon, and the
    method is of order 1. With ``scale`` the guided prediction comes with its derivative along the guided flow, for a
    plan that is not guided, and the method keeps its order.
    """
    choice(order, "order", (1, 2))
    choice(method, "method", METHODS)
    if not isinstance(model, ClassifierFree):
        if scale is not None:
            raise ValueError(
                f"scale={scale!r}: the model is not guided; give guidance.classifier_free(model, null=...)"
            )
        return ExactModel(_plain(model), 1 + order, order, method)
    conditional = _plain(model.conditional)
    if scale is None:
        return replace(model, conditional=ExactModel(conditional, 1 + order, order, method))
    return ExactGuidance(
        conditional, model.null, scale=real(scale, "scale"), order=order, method=method, count=1 + order
    )


def _plain(model: object) -> WrappedModel:
    if not isinstance(model, WrappedModel):
        raise TypeError(f"model: {type(model).__name__}; give models.wrap(network, ...), or classifier_free of one")
    return model


def _columns(model: WrappedModel, times: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack(flow_path(model.outputs[0], model.schedule, model.label, times), axis=-1)


def _outputs(network: Any, x: Tensor, t: Tensor, count: int, method: str) -> tuple[Tensor, ...]:
    path = FlowPath.from_columns(t)
    if count == 1:
        return (network(x, path.label),)
    at = linearize(network, x, path.label, method=method)
    found = differentiate(at, path, order=count - 1)
    return at.value, *(d for d in (found.gamma_d_epsilon, found.gamma2_d2_epsilon) if d is not None)
