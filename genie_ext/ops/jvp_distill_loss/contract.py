"""The call that every backend of ``jvp_distill_loss`` receives, its checks, and the memory it writes to."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..._checks import check_dense_samples, check_float, check_memory, check_same_device, check_shape

__all__ = ["MAPS", "ROW_COLUMNS", "SUM_BLOCK", "JvpDistillLossCall", "allocate", "check_inputs", "compute_dtype"]

MAPS = 3
ROW_COLUMNS = 4  # c2, c3, weight, slope
SUM_BLOCK = 1024  # elements summed into one partial sum


@dataclass(slots=True)
class JvpDistillLossCall:
    """r = c2 k2 + c3 k3 - k1 - target; loss_b = weight_b sum r^2, total = sum_b slope_b / 2 sum r^2.

    maps [B, 3C, ...]: k1, k2, k3 as thirds of dimension 1. target [B, C, ...]. rows [B, 4]: c2, c3, weight, slope.
    Written: losses [B], total [], and the gradient of total, like maps, unless it is None: slope (-r, c2 r, c3 r).
    partials is scratch. maps and target are of any float dtype, gradient is of that of maps, all else of the compute
    dtype, contiguous.
    """

    maps: Tensor
    target: Tensor
    rows: Tensor
    losses: Tensor
    total: Tensor
    partials: Tensor
    gradient: Tensor | None


def compute_dtype(maps: Tensor, target: Tensor) -> torch.dtype:
    return torch.float64 if torch.float64 in (maps.dtype, target.dtype) else torch.float32


def check_inputs(maps: Tensor, target: Tensor) -> None:
    for name, tensor in (("maps", maps), ("target", target)):
        check_memory(name, tensor)
        check_float(name, tensor)
    check_same_device("target", target, maps.device, "maps")
    if maps.ndim < 2 or maps.shape[0] < 1 or maps.shape[1] % MAPS:
        raise ValueError(
            f"maps: shape {tuple(maps.shape)}; need [B, 3C, ...], at least one sample, thirds k1, k2, k3 in dimension 1"
        )
    check_shape("target", target, (maps.shape[0], maps.shape[1] // MAPS, *maps.shape[2:]))
    for name, tensor in (("maps", maps), ("target", target)):
        check_dense_samples(name, tensor)


def allocate(maps: Tensor, target: Tensor, rows: Tensor, *, differentiate: bool) -> JvpDistillLossCall:
    """A call with memory for what it writes."""
    batch = maps.shape[0]
    blocks = -(-(target.numel() // batch) // SUM_BLOCK)
    return JvpDistillLossCall(
        maps=maps,
        target=target,
        rows=rows,
        losses=rows.new_empty(batch),
        total=rows.new_empty(()),
        partials=rows.new_empty(batch * (blocks + 1)),
        gradient=torch.empty_like(maps, memory_format=torch.contiguous_format) if differentiate else None,
    )
