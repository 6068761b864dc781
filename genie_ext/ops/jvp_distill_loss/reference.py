"""jvp_distill_loss in plain torch: the definition. Every product and sum is rounded once, in this order."""

from __future__ import annotations

import torch
from torch import Tensor

from ..rounding import round_to
from ..tree_sum import block_sum, tree_sum
from .contract import MAPS, JvpDistillLossCall

__all__ = ["finish", "loss_and_total", "run"]


def run(call: JvpDistillLossCall) -> None:
    rows = call.rows()
    r = _residual(call.maps, call.target, rows)
    # 2 differentiate
    if call.gradient is not None:
        c2, c3, _, slope = rows.unbind(1)
        slopes = torch.stack((-slope, slope * c2, slope * c3), 1)
        gradient = slopes[:, :, None] * r[:, None, :]
        call.gradient.copy_(round_to(gradient, call.gradient.dtype).reshape(call.gradient.shape))
    finish(call, _sum_of_squares(r), rows)


def finish(call: JvpDistillLossCall, sums: Tensor, rows: Tensor) -> None:
    """From the sums of squares [B] to what the call writes."""
    losses, total = _weighted(sums, rows)
    call.losses.copy_(losses)
    call.total.copy_(total)


def loss_and_total(maps: Tensor, target: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """The losses [B] and their total [], differentiable in both modes by every argument."""
    return _weighted(_sum_of_squares(_residual(maps, target, rows)), rows)


def _residual(maps: Tensor, target: Tensor, rows: Tensor) -> Tensor:
    """[B, elements] in the dtype of ``rows``."""
    batch, elements = maps.shape[0], target[0].numel()
    k1, k2, k3 = maps.reshape(batch, MAPS, elements).to(rows.dtype).unbind(1)
    c2, c3 = rows[:, :2, None].unbind(1)
    # 1 residual
    return ((c2 * k2 + c3 * k3) - k1) - target.reshape(batch, elements).to(rows.dtype)


def _sum_of_squares(r: Tensor) -> Tensor:
    # 3 square
    squares = r * r
    # 4 sum: within blocks, then the blocks
    return block_sum(squares)


def _weighted(sums: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    _, _, weight, slope = rows.unbind(1)
    # 5 weigh
    losses = weight * sums
    # 6 total
    return losses, tree_sum((0.5 * slope) * sums)
