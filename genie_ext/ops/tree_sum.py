"""The order of every long sum: within blocks of SUM_BLOCK elements, then over the blocks."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["SUM_BLOCK", "block_sum", "tree_sum"]

SUM_BLOCK = 1024  # elements summed into one partial sum


def block_sum(values: Tensor) -> Tensor:
    """[B, elements] -> [B]."""
    padded = torch.nn.functional.pad(values, (0, -values.shape[1] % SUM_BLOCK))
    return tree_sum(tree_sum(padded.unflatten(1, (-1, SUM_BLOCK))))


def tree_sum(values: Tensor) -> Tensor:
    """The sum over the last dimension: values i and i + half are added, then the half sums likewise.

    half is the largest power of two below the count, so one without a partner stays as it is.
    """
    while (count := values.shape[-1]) > 1:
        half = 1 << (count - 1).bit_length() - 1
        low, alone, high = values.split([count - half, 2 * half - count, count - half], -1)
        values = torch.cat([low + high, alone], -1)
    return values[..., 0] if values.shape[-1] else values.sum(-1)
