"""Orthogonal transforms as matrices, in float64."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from .folding import Fold

__all__ = ["dct_matrix", "frequencies", "hartley_matrix", "part_matrix"]


def dct_matrix(n: int) -> Tensor:
    """The orthonormal DCT-II: C[k, m] = s_k cos(pi (2 m + 1) k / (2 n)), s_0 = sqrt(1 / n), else sqrt(2 / n)."""
    k, m = torch.arange(n)[:, None], torch.arange(n)[None, :]
    # the angle modulo a whole turn, in integers: the cosine of a large number loses digits
    angles = ((2 * m + 1) * k % (4 * n)).double() * (math.pi / (2 * n))
    matrix = torch.cos(angles) * math.sqrt(2.0 / n)
    matrix[0] = math.sqrt(1.0 / n)
    return matrix


def hartley_matrix(n: int) -> Tensor:
    """U[k, m] = (cos + sin)(2 pi k m / n) / sqrt(n): symmetric and its own inverse."""
    angles = _whole_turns(torch.arange(n), torch.arange(n), n)
    return (torch.cos(angles) + torch.sin(angles)) / math.sqrt(n)


def frequencies(transform: str, n: int, parity: int) -> Tensor:
    """Those that see the even (0) or the odd part (1) of an axis; of a DFT each stands for k and -k."""
    if transform == "dct":
        return torch.arange(parity, n, 2)
    by = Fold.of(n, wrapped=True)
    return torch.arange(parity, parity + by.length(parity))


@lru_cache(maxsize=64)
def part_matrix(transform: str, n: int, parity: int, normalized: bool) -> Tensor:
    """float64 [frequencies, samples of the part], the same tensor each time: not to be written to.

    Of a DFT cosines (even) or sines (odd). Normalized, they are rows of an orthogonal matrix; else as the
    Hartley transform has them, all over sqrt(n), whose plane is folded like an image.
    """
    rows = frequencies(transform, n, parity)
    by = Fold.of(n, wrapped=transform == "dft")
    if transform == "dct":
        return dct_matrix(n)[rows, : by.length(parity)]
    first = by.first if parity else 0
    samples = torch.arange(first, first + by.length(parity))
    angles = _whole_turns(rows, samples, n)
    matrix = (torch.sin(angles) if parity else torch.cos(angles)) / math.sqrt(n)
    if normalized:
        matrix[(rows >= by.first) & (rows < by.first + by.pairs)] *= math.sqrt(2.0)
    return matrix


def _whole_turns(k: Tensor, m: Tensor, n: int) -> Tensor:
    """2 pi k m / n, less the whole turns."""
    return (k[:, None] * m[None, :] % n).double() * (2.0 * math.pi / n)
