"""jvp_distill_loss in plain torch: the definition. Every product and sum is rounded once, in this order."""

from __future__ import annotations

import torch
from torch import Tensor

from ..rounding import round_to
from .contract import MAPS, SUM_BLOCK, JvpDistillLossCall

__all__ = ["finish", "loss_and_total", "run", "tree_sum"]


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
    padded = torch.nn.functional.pad(squares, (0, -squares.shape[1] % SUM_BLOCK))
    return tree_sum(tree_sum(padded.unflatten(1, (-1, SUM_BLOCK))))


def _weighted(sums: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    _, _, weight, slope = rows.unbind(1)
    # 5 weigh
    losses = weight * sums
    # 6 total
    return losses, tree_sum((0.5 * slope) * sums)


def tree_sum(values: Tensor) -> Tensor:
    """The sum over the last dimension: values i and i + half are added, then the half sums likewise.

    half is the largest power of two below the count, so one without a partner stays as it is.
    """
    while (count := values.shape[-1]) > 1:
        half = 1 << (count - 1).bit_length() - 1
        low, alone, high = values.split([count - half, 2 * half - count, count - half], -1)
        values = torch.cat([low + high, alone], -1)
    return values[..., 0] if values.shape[-1] else values.sum(-1)
