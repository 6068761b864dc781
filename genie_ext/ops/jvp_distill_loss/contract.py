"""The call that every backend of ``jvp_distill_loss`` receives, its checks, and the memory it writes to."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..._checks import check_dense_samples, check_float, check_memory, check_same_device, check_shape
from ..tree_sum import SUM_BLOCK
from .memory import empty_gradient
from .weighting import rows_of

__all__ = [
    "MAPS",
    "ROW_COLUMNS",
    "JvpDistillLossCall",
    "allocate",
    "check_inputs",
    "compute_dtype",
    "share_of",
]

MAPS = 3
ROW_COLUMNS = 4  # c2, c3, weight, slope


@dataclass(slots=True)
class JvpDistillLossCall:
    """r = c2 k2 + c3 k3 - k1 - target; loss_b = weight_b sum r^2, total = sum_b slope_b / 2 sum r^2.

    maps [B, 3C, ...]: k1, k2, k3 as thirds of dimension 1. target [B, C, ...]. gamma [B] and weights [B], or None for
    ones, give the row c2, c3, weight, slope of each sample; mean: the total is the mean of the losses, else their sum.
    Written: losses [B], total [], and the gradient of total, like maps, unless it is None: slope (-r, c2 r, c3 r).
    maps and target are of any float dtype, gamma and weights of float32 or float64, gradient is of the dtype of maps,
    losses, total and scratch are of the compute dtype, contiguous.
    """

    maps: Tensor
    target: Tensor
    gamma: Tensor
    weights: Tensor | None
    mean: bool
    losses: Tensor
    total: Tensor
    scratch: Tensor
    gradient: Tensor | None

    def rows(self) -> Tensor:
        """[B, 4], where they are not formed natively."""
        return rows_of(self.gamma, self.weights, self.losses.dtype, share_of(self.mean, self.maps.shape[0]))


def compute_dtype(maps: Tensor, target: Tensor) -> torch.dtype:
    return torch.float64 if torch.float64 in (maps.dtype, target.dtype) else torch.float32


def check_inputs(maps: Tensor, target: Tensor, gamma: Tensor, weights: Tensor | None) -> None:
    for name, tensor in (("maps", maps), ("target", target), ("gamma", gamma), ("weighting", weights)):
        if tensor is not None:
            check_memory(name, tensor)
    for name, tensor in (("maps", maps), ("target", target)):
        check_float(name, tensor)
    check_same_device("target", target, maps.device, "maps")
    if maps.ndim < 2 or maps.shape[0] < 1 or maps.shape[1] % MAPS:
        raise ValueError(
            f"maps: shape {tuple(maps.shape)}; need [B, 3C, ...], at least one sample, thirds k1, k2, k3 in dimension 1"
        )
    check_shape("target", target, (maps.shape[0], maps.shape[1] // MAPS, *maps.shape[2:]))
    for name, tensor in (("maps", maps), ("target", target)):
        check_dense_samples(name, tensor)


def share_of(mean: bool, batch: int) -> float:
    """Of a sample's loss in the total."""
    return 1.0 / batch if mean else 1.0


def allocate(
    maps: Tensor, target: Tensor, gamma: Tensor, weights: Tensor | None, *, mean: bool, differentiate: bool
) -> JvpDistillLossCall:
    """A call with memory for what it writes."""
    batch = maps.shape[0]
    blocks = -(-(target.numel() // batch) // SUM_BLOCK)
    losses = target.new_empty(batch, dtype=compute_dtype(maps, target))
    return JvpDistillLossCall(
        maps=maps,
        target=target,
        gamma=gamma,
        weights=weights,
        mean=mean,
        losses=losses,
        total=losses.new_empty(()),
        scratch=losses.new_empty(batch * (ROW_COLUMNS + blocks + 1)),
        gradient=empty_gradient(maps) if differentiate else None,
    )
