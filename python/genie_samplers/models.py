"""Networks as the engine wants them: ``model(x, t, **cond) -> outputs``, with their label, dtype and device."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .predictions import PREDICTIONS
from .schedules import Schedule, check_schedule, vp_linear

__all__ = ["LABELS", "NULL_CLASS", "WrappedModel", "embedded", "fill_missing", "load", "wrap"]

NULL_CLASS = 10  # of the embedded network
_NETWORKS = ("UNet2DModel", "UNet2DConditionModel")

Label = Callable[[NDArray[np.float64]], NDArray[np.float64]]

LABELS: dict[str, Callable[[Schedule], Label]] = {
    "schedule": lambda schedule: schedule.label,
    "log_gamma": lambda schedule: schedule.log_gamma,
    "999t": lambda _: lambda t: 999.0 * np.asarray(t, dtype=np.float64),
}
"""What networks are labelled with, by name: the schedule's default, log gamma, or score_sde's 999 t."""


@dataclass(frozen=True)
class WrappedModel:
    """A network with what the engine asks of a model; made by :func:`wrap`.

    outputs: names, matched against the plan's. label: times to the network's own label, both float64 arrays. defaults:
    conditioning used where the caller gives none; a number stands for a tensor of it, one per sample.
    """

    network: Callable[..., Any]
    schedule: Schedule
    outputs: tuple[str, ...]
    label: Label
    defaults: Mapping[str, object] = field(default_factory=dict)

    @property
    def dtype(self) -> torch.dtype | None:
        """Of the network's first floating-point parameter; None without one: that of the state."""
        parameter = self._first_parameter()
        return None if parameter is None else parameter.dtype

    @property
    def device(self) -> torch.device | None:
        """As ``dtype``; None without such a parameter: that of x_init."""
        parameter = self._first_parameter()
        return None if parameter is None else parameter.device

    def _first_parameter(self) -> Tensor | None:
        if not isinstance(self.network, nn.Module):
            return None
        return next((p for p in self.network.parameters() if p.is_floating_point()), None)

    def __call__(self, x: Tensor, t: Tensor, **cond: object) -> Tensor:
        """x [B, ...], t float32 [B] -> the network's prediction, x's shape."""
        output = self.network(x, t, **fill_missing(cond, self.defaults, x))
        if isinstance(output, Tensor):
            return output
        return output.sample if hasattr(output, "sample") else output[0]


def wrap(
    network: Callable[..., Any],
    schedule: Schedule,
    *,
    prediction: str = "epsilon",
    label: Label | None = None,
    defaults: Mapping[str, object] | None = None,
) -> WrappedModel:
    """A model from a diffusers, EDM or score_sde style network called as ``network(x, label, **cond)``.

    network: a module, or any callable; it returns a tensor, or one in ``.sample`` or first in a tuple. schedule: the
    one it was trained with; plans of another are refused. prediction: one of ``predictions.PREDICTIONS``. label: times
    to what the network takes instead of t, for example ``schedule.log_gamma``; by default ``schedule.label``.
    """
    if not callable(network):
        raise TypeError(f"network: {type(network).__name__} is not callable; pass a torch.nn.Module or a function")
    check_schedule(schedule)
    if prediction not in PREDICTIONS:
        raise ValueError(f"prediction={prediction!r}; choose one of {', '.join(PREDICTIONS)}")
    return WrappedModel(network, schedule, (prediction,), label or schedule.label, defaults or {})


def embedded(device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> WrappedModel:
    """The class-conditional Fashion-MNIST network shipped with the package, for ``schedules.vp_linear()``.

    [B, 1, 28, 28] in [-1, 1]; cond ``class_labels`` int64 [B] in 0..9, or 10 (the default) for no class. Needs
    diffusers: pip install genie-ext[diffusers].
    """
    schedule = vp_linear()
    with as_file(files("genie_samplers") / "assets") as folder:
        return load(folder, schedule, label=schedule.log_gamma, device=device, dtype=dtype)


def load(
    folder: Path | str,
    schedule: Schedule,
    *,
    prediction: str = "epsilon",
    label: Label | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> WrappedModel:
    """A ``UNet2DModel`` or ``UNet2DConditionModel`` from its diffusers folder, for evaluation, as :func:`wrap` has it.

    A class-conditional network is asked for its last class, the usual "no class", unless ``cond`` says another. Needs
    diffusers: pip install genie-ext[diffusers]. ValueError where the folder holds no such network.
    """
    config = Path(folder) / "config.json"
    if not config.is_file():
        raise ValueError(f"folder={str(folder)!r}: has no config.json; give the folder of a diffusers U-Net")
    kind = _class_name(config)
    if kind not in _NETWORKS:
        raise ValueError(f"folder={str(folder)!r}: holds a {kind}; give one of {', '.join(_NETWORKS)}")
    try:
        import diffusers
    except ImportError as error:
        raise ImportError("a diffusers network needs diffusers: pip install genie-ext[diffusers]") from error
    network = getattr(diffusers, kind).from_pretrained(
        folder, local_files_only=True, low_cpu_mem_usage=False, torch_dtype=dtype
    )
    nn.Module.to(network, torch.device(device))
    network.eval().requires_grad_(False)
    classes = network.config.get("num_class_embeds")
    defaults = {} if classes is None else {"class_labels": classes - 1}
    return wrap(network, schedule, prediction=prediction, label=label, defaults=defaults)


def _class_name(config: Path) -> object:
    try:
        return json.loads(config.read_text())["_class_name"]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"folder: {config} names no _class_name; give the folder of a diffusers U-Net") from error


def fill_missing(cond: Mapping[str, object], defaults: Mapping[str, object], x: Tensor) -> dict[str, object]:
    """``cond`` completed by ``defaults``; a number becomes an int64 or float tensor [B] on x's device."""
    return {**{k: _per_sample(v, x) for k, v in defaults.items() if k not in cond}, **cond}


def _per_sample(value: object, x: Tensor) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return torch.full((x.shape[0],), value, device=x.device)
