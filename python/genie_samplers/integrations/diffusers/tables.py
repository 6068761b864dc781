"""Tensors that others put in the place of a scheduler's own."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["refuse_others"]

_ROUNDING = 2.0**-7  # of bfloat16, twice


def refuse_others(name: str, value: object, own: Tensor, fix: str) -> None:
    """ValueError unless ``value`` is a tensor of the same numbers, but for the rounding of its dtype."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name}: {type(value).__name__}; give a tensor")
    near = value.shape == own.shape and torch.allclose(
        value.detach().cpu().double(), own.cpu().double(), rtol=_ROUNDING, atol=_ROUNDING * 2.0**-6
    )
    if not near:
        raise ValueError(f"{name}: set to other numbers, of which the plan is not made; {fix}")
