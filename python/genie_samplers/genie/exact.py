"""Networks that return the exact derivative of their epsilon, for plans of derivative="exact"."""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from .._arguments import choice, real
from ..flow.coefficients import FlowCoefficients, flow_coefficients
from ..flow.total_derivative import differentiate
from ..forward_mode.directional import METHODS
from ..forward_mode.linearize import linearize
from ..models import Label, WrappedModel
from ..models.guidance import ClassifierFree
from ..plan import Plan
from ..schedules import Schedule
from .extended import ExtendedModel

__all__ = ["DERIVATIVES", "ExactGuidance", "ExactModel", "exact"]

DERIVATIVES = ("gamma_d_epsilon", "gamma2_d2_epsilon")


class ExactModel(ExtendedModel):
    """What the network predicts and its derivatives along its own flow; made by :func:`exact`."""

    def __init__(self, model: WrappedModel, order: int, method: str) -> None:
        super().__init__(model, DERIVATIVES[:order])
        self.method = method

    def label_of(self, schedule: Schedule) -> Label:
        """[n, 14]: the columns of :class:`FlowCoefficients`."""
        return lambda times: _columns(self.model, times)

    def labels(self, plan: Plan) -> NDArray[np.float64]:
        return _columns(self.model, plan.times)

    def __call__(self, x: Tensor, t: Tensor, **cond: Any) -> tuple[Tensor, ...]:
        """x [B, ...], t [B, 14] -> the network's prediction, gamma_d_epsilon, ..., each of x's shape."""

        def network(x: Tensor, label: Tensor) -> Tensor:
            return self.model(x, label, **cond)

        return _outputs(network, x, t, self.count, self.method)


class ExactGuidance(ClassifierFree):
    """The guided prediction as a single one, with its derivatives along the guided flow; made by :func:`exact`."""

    outputs: tuple[str, ...]
    conditional: WrappedModel

    def __init__(self, pair: ClassifierFree, conditional: WrappedModel, scale: float, order: int, method: str) -> None:
        super().__init__(conditional, pair.null, pair.shared)
        self.scale, self.method = scale, method
        self.outputs = (*conditional.outputs, *DERIVATIVES[:order])

    def label_of(self, schedule: Schedule) -> Label:
        """[n, 14], as of :class:`ExactModel`."""
        return lambda times: _columns(self.conditional, times)

    def labels(self, plan: Plan) -> NDArray[np.float64]:
        return _columns(self.conditional, plan.times)

    def first(self, count: int) -> ExactGuidance:
        fewer = copy.copy(self)
        fewer.outputs = self.outputs[:count]
        return fewer

    def sharing(self, names: Collection[str]) -> ExactGuidance:
        told = copy.copy(self)
        told.shared = frozenset(names)
        return told

    def __call__(self, x: Tensor, t: Tensor, **cond: Any) -> tuple[Tensor, ...]:
        pair = super().__call__

        def network(x: Tensor, label: Tensor) -> Tensor:
            conditional, unconditional = pair(x, label, **cond)
            return self.scale * conditional + (1.0 - self.scale) * unconditional

        return _outputs(network, x, t, len(self.outputs), self.method)


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


def _columns(model: WrappedModel, times: ArrayLike) -> NDArray[np.float64]:
    return np.stack(flow_coefficients(model.outputs[0], model.schedule, model.label, np.asarray(times)), axis=-1)


def _outputs(network: Any, x: Tensor, t: Tensor, count: int, method: str) -> tuple[Tensor, ...]:
    path = FlowCoefficients.from_columns(t)
    if count == 1:
        return (network(x, path.label),)
    at = linearize(network, x, path.label, method=method)
    found = differentiate(at, path, order=count - 1)
    return at.value, *(d for d in (found.gamma_d_epsilon, found.gamma2_d2_epsilon) if d is not None)
