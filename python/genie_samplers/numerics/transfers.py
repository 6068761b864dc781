"""Exact transfers between two times: what a step of order 1 multiplies by."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..schedules import Schedule

__all__ = ["transfer", "x0_transfer"]

Array = NDArray[np.float64]


def transfer(schedule: Schedule, t: ArrayLike, t_next: ArrayLike) -> tuple[Array, Array]:
    """(alpha'/alpha, alpha' (gamma' - gamma)): the DDIM step x' = first * x + second * epsilon.

    Elementwise over times of any (broadcastable) shape. The second factor keeps full relative
    accuracy however close the times; it equals sigma' - (alpha'/alpha) sigma. ValueError for times
    outside the schedule.
    """
    ratio = np.exp(schedule.log_alpha(t_next) - schedule.log_alpha(t))
    return ratio, schedule.alpha(t_next) * schedule.gamma_change(t, t_next)


def x0_transfer(schedule: Schedule, t: ArrayLike, t_next: ArrayLike) -> tuple[Array, Array]:
    """(sigma'/sigma, alpha' - (sigma'/sigma) alpha): the DDIM step x' = first * x + second * x_0.

    Shapes and accuracy as :func:`transfer`. Exactly (0, alpha') if t_next is t_zero; ValueError
    if t is, where x holds no noise to keep.
    """
    gamma = schedule.gamma(t)
    if np.any(gamma == 0.0):
        fix = "use the epsilon form for a step away from t_zero"
        raise ValueError(f"t={schedule.t_zero!r} is t_zero, where sigma = 0: {fix}")
    ratio = schedule.sigma(t_next) / schedule.sigma(t)
    lost = np.where(ratio == 0.0, 1.0, -schedule.gamma_change(t, t_next) / gamma)
    return ratio, schedule.alpha(t_next) * lost
