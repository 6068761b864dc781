"""Networks that return the exact derivative of their epsilon, for plans of derivative="exact"."""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .._arguments import choice, real
from ..flow import FlowCoefficients, differentiate, flow_coefficients
from ..forward_mode import METHODS, linearize
from ..models import WrappedModel
from ..models.guidance import ClassifierFree
from .extended import ExtendedModel

__all__ = ["DERIVATIVES", "ExactGuidance", "ExactModel", "exact"]

DERIVATIVES = ("gamma_d_epsilon", "gamma2_d2_epsilon")


class ExactModel(ExtendedModel):
    """What the network predicts and its derivatives along its own flow; made by :func:`exact`."""

    def __init__(self, model: WrappedModel, order: int, method: str) -> None:
        super().__init__(model, DERIVATIVES[:order])
        self.method = method

    def label(self, times: NDArray[np.float64]) -> NDArray[np.float64]:  # type: ignore[override]
        """[n, 14]: the columns of :class:`FlowCoefficients`; of pure noise, where no plan reads a derivative and log
        gamma is infinite, the network's label and zeros.
        """
        model = self.model
        at, signal = np.asarray(model.label(times), dtype=np.float64), model.schedule.alpha(times) > 0.0
        columns = np.zeros((len(times), len(FlowCoefficients._fields)))
        columns[:, 0] = at
        found = flow_coefficients(model.outputs[0], model.schedule, model.label, times[signal])
        columns[signal] = np.stack(found, axis=-1)
        return columns

    def __call__(self, x: Tensor, t: Tensor, **cond: Any) -> tuple[Tensor, ...]:
        """x [B, ...], t [B, 14] -> the network's prediction, gamma_d_epsilon, ..., each of x's shape."""

        def network(x: Tensor, label: Tensor) -> Tensor:
            return self.model(x, label, **cond)

        return _outputs(network, x, t, self.count, self.method)


class ExactGuidance(ExactModel):
    """The guided prediction as a single one, with its derivatives along the guided flow; made by :func:`exact`."""

    def __init__(self, pair: ClassifierFree, conditional: WrappedModel, scale: float, order: int, method: str) -> None:
        super().__init__(conditional, order, method)
        self.pair, self.scale = pair, scale

    def sharing(self, names: Collection[str]) -> ExactGuidance:
        same = copy.copy(self)
        same.pair = self.pair.sharing(names)
        return same

    def __call__(self, x: Tensor, t: Tensor, **cond: Any) -> tuple[Tensor, ...]:
        def network(x: Tensor, label: Tensor) -> Tensor:
            conditional, unconditional = self.pair(x, label, **cond)
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
        return ExactModel(_plain(model), order, method)
    conditional = _plain(model.conditional)
    if scale is None:
        return ClassifierFree(ExactModel(conditional, order, method), model.null, model.shared)
    return ExactGuidance(model, conditional, real(scale, "scale"), order, method)


def _plain(model: object) -> WrappedModel:
    if not isinstance(model, WrappedModel):
        raise TypeError(f"model: {type(model).__name__}; give models.wrap(network, ...), or classifier_free of one")
    return model


def _outputs(network: Any, x: Tensor, t: Tensor, count: int, method: str) -> tuple[Tensor, ...]:
    flow = FlowCoefficients.from_columns(t)
    if count == 1:
        return (network(x, flow.label),)
    at = linearize(network, x, flow.label, method=method)
    found = differentiate(at, flow, order=count - 1)
    return at.value, *(d for d in (found.gamma_d_epsilon, found.gamma2_d2_epsilon) if d is not None)
