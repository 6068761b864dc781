"""The network shipped with the package."""

from __future__ import annotations

import json
from importlib.resources import as_file, files
from typing import Any

import torch

from ..genie import HeadedModel, with_head
from ..models import WrappedModel, load
from ..schedules import vp_linear

__all__ = ["NULL_CLASS", "embedded", "embedded_config", "embedded_with_head"]

NULL_CLASS = 10
"""The class label that stands for none."""


def embedded_config() -> dict[str, Any]:
    """What its config.json holds."""
    return json.loads((files("genie_samplers.demo") / "assets" / "config.json").read_text())


def embedded(device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> WrappedModel:
    """The class-conditional Fashion-MNIST network shipped with the package, for ``schedules.vp_linear()``.

    [B, 1, 28, 28] in [-1, 1]; cond ``class_labels`` int64 [B] in 0..9, or 10 (the default) for no class. Needs
    diffusers: pip install genie-ext[diffusers].
    """
    schedule = vp_linear()
    with as_file(files("genie_samplers.demo") / "assets") as folder:
        return load(folder, schedule, label=schedule.log_gamma, device=device, dtype=dtype)


def embedded_with_head(
    device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32, *, network: WrappedModel | None = None
) -> HeadedModel:
    """The network of :func:`embedded`, ``network`` if it is loaded already, with its own head of corrections."""
    with as_file(files("genie_samplers.demo") / "assets") as folder:
        return with_head(network or embedded(device, dtype), folder)
