"""Rounding to a storage dtype, once and to nearest even, also from float64 to the 16-bit types."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["round_to"]


def round_to(value: Tensor, dtype: torch.dtype) -> Tensor:
    """Cast with a single rounding. torch casts float64 to a 16-bit type through float32, which rounds twice."""
    if value.dtype == torch.float64 and dtype in (torch.float16, torch.bfloat16):
        return _float32_round_to_odd(value).to(dtype)
    return value.to(dtype)


def _float32_round_to_odd(value: Tensor) -> Tensor:
    """float64 to float32, truncated, with the last bit set where inexact: a second rounding then cannot go astray."""
    nearest = value.to(torch.float32)
    bits = nearest.view(torch.int32)
    inexact = (nearest.to(torch.float64) != value) & ~torch.isnan(value)
    too_large = inexact & (nearest.to(torch.float64).abs() > value.abs())
    truncated = torch.where(too_large, bits - 1, bits)
    return torch.where(inexact, truncated | 1, truncated).view(torch.float32)
