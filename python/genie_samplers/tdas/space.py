"""The space filter: a soft picture of where the data are bright."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._arguments import real, reals

__all__ = ["space_filter"]

Array = NDArray[np.float64]


def space_filter(images: ArrayLike, *, alpha: float = 2.0) -> Array:
    """A, float64 [C, H, W], largest value 1: A = (a / max a + alpha - 1) / alpha with a = log(1 + mean image).

    images: [N, C, H, W] in [0, 1]. alpha: 1 keeps the contrast, more softens it. The softening is that of the
    published code of PDS, whose alpha is 5; what TDAS used is not published, 2 to 5 are sensible. With alpha = 1 a
    pixel that is 0 in every image would make the filter singular: ValueError. arXiv 2206.04029, section 5.1.
    """
    values = reals(images, "images")
    if values.ndim != 4 or values.size == 0:
        raise ValueError(f"images has shape {values.shape}; need [N, C, H, W], N 1 or more")
    if not (values.min() >= 0.0 and values.max() <= 1.0):  # nor NaN
        raise ValueError(f"images: {values.min()}..{values.max()}; need 0..1, of images in [-1, 1] give (x + 1) / 2")
    softness = real(alpha, "alpha")
    if not 1.0 <= softness < math.inf:
        raise ValueError(f"alpha={softness}; need 1 or more, and finite")
    raw = np.log1p(values.mean(axis=0))
    if raw.max() == 0.0:
        raise ValueError("images: all are 0, which says nothing; give images of the data")
    soft = (raw / raw.max() + softness - 1.0) / softness
    if soft.min() <= 0.0:
        raise ValueError(f"alpha={softness}: a pixel is 0 in every image, and the filter singular; give more than 1")
    return soft
