"""Filters of two or three values, by distance from the lowest frequency."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .._arguments import choice, integer, real, shown
from .transforms import TRANSFORMS

__all__ = ["checked_size", "over_rings", "radial_filter", "radius"]

Array = NDArray[np.float64]

RINGS = 24


def radius(size: Sequence[int], *, transform: str = "dct") -> Array:
    """rho = sqrt(((u/W)^2 + (v/H)^2) / 2) of every coefficient, float64 [H, W].

    size: (H, W). Of "dct" u and v are the indices, the origin is a corner and 0 <= rho < 1; of "dft", in the layout of
    an FFT without shift, u = min(w, W - w) and v = min(h, H - h), and 0 <= rho <= 0.5. arXiv 2206.04029, eq. 8.
    """
    height, width = checked_size(size)
    wraps = choice(transform, "transform", TRANSFORMS) == "dft"
    v, u = (_distance(n, wraps=wraps) / n for n in (height, width))
    return np.sqrt((v[:, None] ** 2 + u[None, :] ** 2) / 2.0)


def radial_filter(
    size: Sequence[int],
    *,
    lambda1: float,
    r1: float,
    lambda2: float | None = None,
    r2: float | None = None,
    transform: str = "dct",
) -> Array:
    """The published frequency filter, float64 [H, W]: 1 for rho <= r1, lambda1 up to r2, lambda2 beyond.

    Without lambda2 and r2 two zones, lambda1 beyond r1 (eq. 6). ValueError for a lambda that is no positive finite
    number, and unless 0 <= r1 <= r2.
    """
    if (lambda2 is None) != (r2 is None):
        raise ValueError(f"lambda2={lambda2}, r2={r2}: three zones need both; leave both out for two zones")
    factors = _positive(lambda1, "lambda1"), _positive(lambda1 if lambda2 is None else lambda2, "lambda2")
    near = real(r1, "r1")
    far = near if r2 is None else real(r2, "r2")
    if not (0.0 <= near <= far < math.inf):
        raise ValueError(f"r1={near}, r2={far}; need 0 <= r1 <= r2, both finite")
    rho = radius(size, transform=transform)
    return np.select([rho <= near, rho <= far], [1.0, factors[0]], factors[1])


def over_rings(powers: Array, *, transform: str = "dct") -> tuple[Array, NDArray[np.int64]]:
    """The means of [..., H, W] over rings of equal width in rho, [..., rings], and the ring of each frequency [H, W].

    Of the 24 rings those without a frequency are left out: what a few samples say of one frequency is mostly noise.
    """
    rho = radius(powers.shape[-2:], transform=transform)
    farthest = 1.0 if transform == "dct" else 0.5
    _, place = np.unique(np.minimum((rho / farthest * RINGS).astype(int), RINGS - 1), return_inverse=True)
    ring = place.reshape(rho.shape)
    chosen = np.eye(ring.max() + 1)[ring.ravel()]
    return powers.reshape(*powers.shape[:-2], -1) @ (chosen / chosen.sum(axis=0)), ring


def checked_size(size: Sequence[int]) -> tuple[int, int]:
    """(H, W), both 1 or more."""
    if isinstance(size, str) or not isinstance(size, Sequence) or len(size) != 2:
        raise ValueError(f"size={shown(size)}; give (H, W), the last two numbers of the shape of a sample")
    height, width = (integer(n, "size", least=1) for n in size)
    return height, width


def _distance(n: int, *, wraps: bool) -> Array:
    k = np.arange(n, dtype=np.float64)
    return np.minimum(k, n - k) if wraps else k


def _positive(value: float, name: str) -> float:
    number = real(value, name)
    if not 0.0 < number < math.inf:
        raise ValueError(f"{name}={number}; need a positive finite number, 1 leaves the zone as it is")
    return number
