"""Networks of other libraries as models: their signature, label, dtype and device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .. import predictions
from ..schedules import Schedule, check_schedule
from .contract import Label, Model, first_parameter
from .outputs import single_tensor

__all__ = ["INPUTS", "LABELS", "WrappedModel", "fill_missing", "wrap"]

Call = Callable[..., Any]
"""(network, x, t, **cond) -> what the network returns."""

LABELS: dict[str, Callable[[Schedule], Label]] = {
    "schedule": lambda schedule: schedule.label,
    "log_gamma": lambda schedule: schedule.log_gamma,
    "999t": lambda _: lambda t: 999.0 * np.asarray(t, dtype=np.float64),
}
"""What networks are labelled with, by name: the schedule's default, log gamma, or score_sde's 999 t."""

INPUTS: dict[str, Callable[[Schedule], Label | None]] = {
    "x": lambda _: None,
    "unit_variance": lambda schedule: lambda t: 1.0 / np.hypot(schedule.alpha(t), schedule.sigma(t)),
}
"""What networks take, by name: x, or where the noise is unbounded x divided by its deviation for data of variance 1."""


class WrappedModel(Model):
    """A network with all that the sampler asks of a model; made by :func:`wrap`.

    outputs: the one prediction. defaults: conditioning used where the caller gives none; a number stands for a tensor
    of it, one per sample.
    """

    schedule: Schedule
    outputs: tuple[str, ...]
    label: Label

    def __init__(
        self,
        network: Callable[..., Any],
        schedule: Schedule,
        prediction: str,
        label: Label,
        *,
        call: Call | None = None,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
        defaults: Mapping[str, object] | None = None,
    ) -> None:
        self.network, self.schedule, self.outputs, self.label = network, schedule, (prediction,), label
        self.call, self.own_device, self.own_dtype, self.defaults = call, device, dtype, dict(defaults or {})

    @property
    def dtype(self) -> torch.dtype | None:
        """As given to :func:`wrap`, else of the network's first floating-point parameter; None: that of the state."""
        parameter = None if self.own_dtype else first_parameter(self.network)
        return self.own_dtype if parameter is None else parameter.dtype

    @property
    def device(self) -> torch.device | None:
        """As given to :func:`wrap`, else where the network's first floating-point parameter is; None: anywhere."""
        parameter = None if self.own_device else first_parameter(self.network)
        return self.own_device if parameter is None else parameter.device

    def __call__(self, x: Tensor, t: Tensor, **cond: Any) -> Tensor:
        """x [B, ...], t float32 [B] -> the network's prediction, x's shape."""
        filled = fill_missing(cond, self.defaults, x)
        output = self.network(x, t, **filled) if self.call is None else self.call(self.network, x, t, **filled)  # type: ignore[operator]
        return single_tensor(output)

    def __repr__(self) -> str:
        return f"WrappedModel({type(self.network).__name__}, {self.schedule!r}, {self.outputs[0]!r})"


def wrap(
    network: Callable[..., Any],
    schedule: Schedule,
    *,
    prediction: str = "epsilon",
    label: Label | None = None,
    call: Call | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    defaults: Mapping[str, object] | None = None,
    input_scale: Label | None = None,
) -> WrappedModel:
    """A model from a diffusers, EDM, score_sde style or any other network.

    network: a module, or any callable. It returns a tensor, or one in ``.sample``, alone in a dict or dataclass, or
    first in a tuple. schedule: the one it was trained with; plans of another are refused. prediction: one of
    ``predictions.PREDICTIONS``. label: times to what the network takes instead of t, for example
    ``schedule.log_gamma``; by default ``schedule.label``. call: ``call(network, x, t, **cond)`` for another signature
    than network(x, label, **cond) or another result; transformers that take the time by name want
    ``call=lambda network, x, t, **cond: network(hidden_states=x, timestep=t, **cond)``. device, dtype: of x as the
    network takes it, by default those of its first parameter; t is float32. defaults: conditioning where the caller
    gives none; a number stands for one per sample. input_scale: times to what x is multiplied with at the network's
    door, for example ``models.INPUTS["unit_variance"](schedule)``; by default 1.
    """
    if not callable(network):
        raise TypeError(f"network: {type(network).__name__} is not callable; pass a torch.nn.Module or a function")
    if isinstance(network, Model):
        raise TypeError(f"network: {type(network).__name__} is a model already; pass the network that it holds")
    check_schedule(schedule)
    prediction = predictions.named(prediction)
    for name, value in (("label", label), ("call", call), ("input_scale", input_scale)):
        if value is not None and (not callable(value) or isinstance(value, nn.Module)):
            raise TypeError(f"{name}: {type(value).__name__}; give a function")
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise TypeError(f"dtype={dtype!r}; give a float dtype of torch")
    label = label or schedule.label
    if input_scale is not None:
        label, call = _with_scale(label, input_scale), _scaled(call)
    return WrappedModel(
        network, schedule, prediction, label, call=call, dtype=dtype, defaults=defaults,
        device=None if device is None else torch.device(device),
    )  # fmt: skip


def _with_scale(label: Label, scale: Label) -> Label:
    """[..., 2]: the label, and the scale of the input."""
    return lambda t: np.stack(np.broadcast_arrays(label(t), scale(t)), axis=-1)


def _scaled(call: Call | None) -> Call:
    def scaled(network: Any, x: Tensor, t: Tensor, **cond: Any) -> Any:
        x = x * t[:, 1].to(x.dtype).reshape(-1, *(1,) * (x.ndim - 1))
        return network(x, t[:, 0], **cond) if call is None else call(network, x, t[:, 0], **cond)

    return scaled


def fill_missing(cond: Mapping[str, object], defaults: Mapping[str, object], x: Tensor) -> dict[str, object]:
    """``cond`` completed by ``defaults``; a number becomes an int64 or float tensor [B] on x's device."""
    return {**{k: _per_sample(v, x) for k, v in defaults.items() if k not in cond}, **cond}


def _per_sample(value: object, x: Tensor) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return torch.full((x.shape[0],), value, device=x.device)
