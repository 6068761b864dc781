"""The total derivative of epsilon along the probability flow, exact to rounding."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from .._arguments import choice, reals
from ..forward_mode import METHODS, Linearized, linearize
from ..models import Label
from ..predictions import PREDICTIONS
from ..schedules import Schedule, check_schedule
from .coefficients import FlowCoefficients, flow_coefficients

__all__ = ["TotalDerivative", "coefficients_at", "differentiate", "total_derivative"]


@dataclass(frozen=True)
class TotalDerivative:
    """All of x's shape. gamma_d_epsilon: gamma d epsilon/d gamma. gamma2_d2_epsilon: gamma^2 d^2 epsilon/d gamma^2."""

    epsilon: Tensor
    gamma_d_epsilon: Tensor
    gamma2_d2_epsilon: Tensor | None = None


def total_derivative(
    model: Callable[..., Any],
    x: Tensor,
    t: float | Tensor,
    schedule: Schedule | None = None,
    *,
    cond: Mapping[str, object] | None = None,
    order: int = 1,
    method: str = "forward",
) -> TotalDerivative:
    """epsilon and its derivatives along the flow dx/ds = sigma epsilon + (d log alpha/ds) x, s = log gamma.

    model: from models.wrap; or any model(x, label, **cond) -> epsilon, with its ``schedule`` (labels: ``model.label``,
    else the schedule's). x [B, ...], float. t: times of the schedule, one or [B]. The network's labels are float64
    where x is, else float32. order: 2 for the second derivative, too.
    method: "forward" runs the network once and then its tangents; inside torch.func.jvp, so once more, for order 2 and
    where :func:`linearize` cannot record it. "double_backward" serves networks without forward mode and is checked
    against a finite difference, "auto" takes the first that works. Raises ValueError or TypeError for bad arguments,
    and ValueError where a double backward is wrong.
    Dockhorn, Vahdat and Kreis, arXiv 2210.05475, eq. 12, as one joint directional derivative.
    """
    choice(order, "order", (1, 2))
    choice(method, "method", METHODS)
    _check_state(x)
    x = x.contiguous()  # a dual number cannot be made of an expanded tensor
    flow = coefficients_at(model, x, t, schedule)

    def network(x: Tensor, label: Tensor) -> Tensor:
        return model(x, label, **(cond or {}))

    return differentiate(linearize(network, x, flow.label, method=method), flow, order=order)


def coefficients_at(model: Any, x: Tensor, t: float | Tensor, schedule: Schedule | None = None) -> FlowCoefficients:
    """The flow at the times ``t``, one or [B], as tensors [B] on x's device: float64 where x is, else float32."""
    prediction, schedule, label = _description(model, schedule)
    times = reals(t.detach().cpu().numpy() if isinstance(t, Tensor) else t, "t")
    if times.shape not in ((), (len(x),)):
        raise ValueError(f"t: shape {times.shape}; give one time, or one per sample, [{len(x)}]")
    columns = np.stack(flow_coefficients(prediction, schedule, label, np.atleast_1d(times)), axis=-1)
    precision = torch.float64 if x.dtype == torch.float64 else torch.float32
    return FlowCoefficients.from_columns(
        torch.from_numpy(columns).to(x.device, precision).expand(len(x), -1).contiguous()
    )


def differentiate(at: Linearized, flow: FlowCoefficients, *, order: int = 1) -> TotalDerivative:
    """:func:`total_derivative` of a network that ran at x and ``flow.label``, as hooks could see: by ``linearize``."""
    (x, _), out = at.point, at.value
    on = FlowCoefficients(*(c.reshape(-1, *(1,) * (x.ndim - 1)) for c in flow))
    epsilon = on.p * x + on.q * out
    velocity = on.sigma * epsilon + on.x_rate * x
    direction = (velocity.to(x.dtype), flow.label_slope)
    out1 = at.along(direction)
    first = on.e1_x * x + on.e1_out * out + on.q * out1
    if order == 1:
        return TotalDerivative(epsilon, first)
    acceleration = on.x_bend_epsilon * epsilon + on.sigma * first + on.x_bend * x
    out2 = at.along_twice(direction, (acceleration.to(x.dtype), flow.label_bend))
    second = on.e2_x * x + on.e2_out * out + on.e2_out1 * out1 + on.q * out2
    return TotalDerivative(epsilon, first, second - first)


def _description(model: Any, schedule: Schedule | None) -> tuple[str, Schedule, Label]:
    """Prediction, schedule and label function of a wrapped model, or of a function of epsilon."""
    if not callable(model):
        raise TypeError(f"model: {type(model).__name__} is not callable; pass model(x, label, **cond)")
    outputs = getattr(model, "outputs", ("epsilon",))
    if len(outputs) != 1 or outputs[0] not in PREDICTIONS:
        raise ValueError(f"model: returns {outputs}; give the model of one prediction that it is made from")
    own = getattr(model, "schedule", None)
    known = own if schedule is None else schedule
    if known is None:
        raise ValueError("schedule: missing; give one, or a model made by genie_samplers.models.wrap")
    check_schedule(known)
    if isinstance(own, Schedule) and own != known:
        raise ValueError("schedule: not the one that the model was wrapped for; leave it out")
    label = getattr(model, "label", None)
    named = callable(label) and not isinstance(label, torch.nn.Module)
    return outputs[0], known, cast(Label, label) if named else known.label


def _check_state(x: Tensor) -> None:
    if not isinstance(x, Tensor) or not x.is_floating_point():
        raise TypeError(f"x: {getattr(x, 'dtype', type(x).__name__)}; need a float tensor [B, ...]")
    if x.ndim < 2:
        raise ValueError(f"x: shape {tuple(x.shape)}; need [B, ...]")
