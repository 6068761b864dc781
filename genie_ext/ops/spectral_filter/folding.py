"""Even and odd parts under reflection: a DCT reflects sample i to n - 1 - i, a DFT (wrapped) i to -i modulo n.

Each frequency sees one of the parts alone, which halves the products of matrices.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Fold", "fold", "unfold"]


class Fold(NamedTuple):
    """Of an axis of n: the first ``even`` samples; of them only first, ..., first + pairs - 1 have a partner."""

    n: int
    first: int
    pairs: int
    even: int

    @classmethod
    def of(cls, n: int, *, wrapped: bool) -> Fold:
        return cls(n, 1, (n - 1) // 2, n // 2 + 1) if wrapped else cls(n, 0, n // 2, (n + 1) // 2)

    def length(self, parity: int) -> int:
        return self.pairs if parity else self.even


def fold(values: Tensor, axis: int, by: Fold) -> tuple[Tensor, Tensor]:
    """The even and the odd part along an axis."""
    low, high, left, right = _parts(values, axis, by)
    return torch.cat([left, low + high, right], axis), low - high


def unfold(even: Tensor, odd: Tensor, axis: int, by: Fold) -> Tensor:
    left, paired, right = even.split([by.first, by.pairs, by.even - by.first - by.pairs], axis)
    return torch.cat([left, paired + odd, right, (paired - odd).flip(axis)], axis)


def _parts(values: Tensor, axis: int, by: Fold) -> tuple[Tensor, ...]:
    """Samples with a partner, their partners in the same order, the single ones before and after."""
    sizes = [by.first, by.pairs, by.even - by.first - by.pairs, by.pairs]
    left, low, right, high = values.split(sizes, axis)
    return low, high.flip(axis), left, right
