"""By how much differences between images are shown larger than they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["FULL", "amplification"]

FULL = 2.0  # a difference from black to white, of images in [-1, 1]
_FACTORS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


def amplification(differences: Sequence[np.ndarray]) -> int:
    """By how much the differences of one column are shown larger.

    So much that of its median cell the largest hundredth is white: the solvers can be compared, and the good ones seen.
    """
    largest = [float(np.quantile(difference, 0.99)) for difference in differences]
    room = FULL / max(float(np.median(largest)), FULL / _FACTORS[-1]) if largest else 1.0
    return max(factor for factor in _FACTORS if factor <= max(room, 1.0))
