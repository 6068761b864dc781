"""Numbers of samples beside their tensors."""

from __future__ import annotations

from torch import Tensor

__all__ = ["expand_like"]


def expand_like(values: Tensor, like: Tensor) -> Tensor:
    """values [B] or [B, C] with dimensions of one behind them, so that they broadcast with ``like`` [B, C, ...]."""
    return values.reshape(*values.shape, *(1,) * (like.ndim - values.ndim))
