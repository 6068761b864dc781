"""Orthogonal transforms as matrices, in float64."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

__all__ = ["dct_matrix", "hartley_matrix", "transform_matrix"]


@lru_cache(maxsize=64)
def transform_matrix(transform: str, n: int) -> Tensor:
    """float64 [n, n] on the CPU, the same tensor each time: not to be written to."""
    return dct_matrix(n) if transform == "dct" else hartley_matrix(n)


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
    k = torch.arange(n)
    angles = (k[:, None] * k[None, :] % n).double() * (2.0 * math.pi / n)
    return (torch.cos(angles) + torch.sin(angles)) / math.sqrt(n)
