"""The two real orthogonal transforms of the plane, as matrices on the host: T[x] = U_H x U_W^T, its inverse by U^T."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .._arguments import choice, integer

__all__ = ["TRANSFORMS", "image_shape", "matrix", "transformed"]

Array = NDArray[np.float64]

TRANSFORMS = ("dct", "dft")


@lru_cache(32)
def matrix(transform: str, n: int) -> Array:
    """U, float64 [n, n], orthogonal: of "dct" the DCT-II, of "dft" the Hartley matrix, which is its own inverse.

    A filter by Hartley is exactly the one by FFT wherever it treats k and n - k alike in each axis, as every
    wrap-around radial filter does. ValueError for another transform. Read-only.
    """
    choice(transform, "transform", TRANSFORMS)
    n = integer(n, "n", least=1)
    k, m = np.arange(n)[:, None], np.arange(n)[None, :]
    if transform == "dct":
        u = np.sqrt(2.0 / n) * np.cos(np.pi * (2 * m + 1) * k / (2 * n))
        u[0] = np.sqrt(1.0 / n)
    else:
        angle = 2.0 * np.pi * (k * m % n) / n
        u = (np.cos(angle) + np.sin(angle)) / np.sqrt(n)
    u.flags.writeable = False
    return u


def image_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """(C, H, W) of samples [B, C, ..., H, W] or [C, H, W], (H, W) of [H, W]: of one plane of a sample."""
    given = tuple(shape)
    return (given[1], *given[-2:]) if len(given) > 4 else given[-3:]


def transformed(x: NDArray[np.floating], transform: str, *, inverse: bool = False) -> Array:
    """T[x], or T^-1[x], of the last two axes [..., H, W], in float64."""
    height, width = (matrix(transform, n) for n in x.shape[-2:])
    if inverse:
        height, width = height.T, width.T
    return height @ np.asarray(x, dtype=np.float64) @ width.T
