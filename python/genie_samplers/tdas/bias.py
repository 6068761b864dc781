"""What filtered noise does to Gaussian data, mode by mode, in closed form."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._arguments import reals

__all__ = ["langevin_variance", "reverse_sde_bias"]

Array = NDArray[np.float64]


def langevin_variance(variance: ArrayLike, step: ArrayLike, *, noise: ArrayLike = 1.0, score: ArrayLike = 1.0) -> Array:
    """The stationary variance of x <- x + step score s(x) + sqrt(2 step) noise z with s = -x / variance.

        noise^2 variance / (score (1 - step score / (2 variance)))

    Vanilla: 1, 1. TDAS: noise R, score 1: R^2 times too much or too little at any step size. PDS: noise m, score m^2:
    the data's own variance in the limit of small steps. Arguments broadcast; ValueError where the iteration diverges,
    step score >= 2 variance, or an argument is not positive.
    """
    v, h, b, q = (
        _positive(a, n) for a, n in ((variance, "variance"), (step, "step"), (noise, "noise"), (score, "score"))
    )
    if np.any(h * q >= 2.0 * v):
        raise ValueError("step: step * score reaches twice the least variance, where it diverges; shorten it")
    return b**2 * v / (q * (1.0 - h * q / (2.0 * v)))


def reverse_sde_bias(noise: ArrayLike, score: ArrayLike = 1.0) -> Array:
    """Final variance over the data's, of the variance-exploding reverse SDE in continuous time.

        noise^2 / (2 score - 1)

    With u = v + sigma^2 the variance of a mode obeys dV/du = 2 score V / u - noise^2, from sigma far above the data.
    TDAS: R^2. PDS: m^2 / (2 m^2 - 1), which is 1 only for m = 1: preconditioning keeps the law of Langevin dynamics,
    not that of the reverse SDE. ValueError unless score > 1/2.
    """
    b, q = _positive(noise, "noise"), _positive(score, "score")
    if np.any(q <= 0.5):
        raise ValueError("score: 1/2 or less, where the start is never forgotten; give more")
    return b**2 / (2.0 * q - 1.0)


def _positive(values: ArrayLike, name: str) -> Array:
    found = reals(values, name)
    if not (np.isfinite(found).all() and np.all(found > 0.0)):
        raise ValueError(f"{name}={values}; need positive finite numbers")
    return found
