"""The network shipped with the package."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import as_file, files
from typing import Any

import torch

from ..genie import HeadedModel, with_head
from ..models import WrappedModel, load, read_folder
from ..schedules import Schedule, vp_linear

__all__ = ["NULL_CLASS", "embedded", "embedded_config", "embedded_with_head"]

_BEYOND = (
    1.05  # how far above the largest gamma it saw it may be asked: noise all the same, as of a table of 1000 betas
)

NULL_CLASS = 10
"""The class label that stands for none."""


def embedded_config() -> dict[str, Any]:
    """What its config.json holds."""
    return json.loads((files("genie_samplers.demo") / "assets" / "config.json").read_text())


def embedded(
    device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32, *, schedule: Schedule | None = None
) -> WrappedModel:
    """The class-conditional Fashion-MNIST network shipped with the package.

    [B, 1, 28, 28] in [-1, 1]; cond ``class_labels`` int64 [B] in 0..9, or 10 (the default) for no class. schedule: by
    default ``schedules.vp_linear()``, on which it was trained; it serves any whose gamma stays in the range that it
    knows, as ``ve`` and ``edm``, since x / sqrt(alpha^2 + sigma^2) is the same there. Needs diffusers: pip install
    genie-ext[diffusers].
    """
    own = vp_linear()
    schedule = own if schedule is None else schedule
    known, most = float(own.gamma(own.t_max)), float(schedule.gamma(schedule.t_max))
    if most > _BEYOND * known:
        fix = "give a schedule that stays below, as ve(), edm() or vp_cosine(), or train a network on this one"
        raise ValueError(f"schedule: {schedule} goes to gamma = {most:g}, the network knows up to {known:g}; {fix}")
    with as_file(files("genie_samplers.demo") / "assets") as folder:
        found = replace(read_folder(folder), input="x" if schedule == own else "unit_variance")
        return load(found, schedule, label=schedule.log_gamma, device=device, dtype=dtype)


def embedded_with_head(
    device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32, *, network: WrappedModel | None = None
) -> HeadedModel:
    """The network of :func:`embedded`, ``network`` if it is loaded already, with its own head of corrections."""
    with as_file(files("genie_samplers.demo") / "assets") as folder:
        return with_head(network or embedded(device, dtype), folder)
