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
    accuracy however close the times; it equals sigma' - (alpha'/alpha) sigma, also where alpha' = 0. ValueError for
    times outside the schedule, and for a step from alpha = 0, where epsilon does not determine x_0.
    """
    if isinstance(t, float) and isinstance(t_next, float):  # a plan asks for one step after another, and again
        return schedule.remember(("transfer", t, t_next), lambda: _transfer(schedule, t, t_next))
    return _transfer(schedule, t, t_next)


def _transfer(schedule: Schedule, t: ArrayLike, t_next: ArrayLike) -> tuple[Array, Array]:
    ends = schedule.alpha(t) == 0.0
    if ends if isinstance(t, float) else np.any(ends):
        fix = "use the x0 form for a step from pure noise"
        raise ValueError(f"t={schedule.t_max!r} is pure noise, where alpha = 0: {fix}")
    ratio = np.exp(schedule.log_alpha(t_next) - schedule.log_alpha(t))
    alpha = schedule.alpha(t_next)
    if isinstance(t, float) and isinstance(t_next, float):
        return ratio, schedule.sigma(t_next) if alpha == 0.0 else alpha * schedule.gamma_change(t, t_next)
    with np.errstate(invalid="ignore"):  # 0 * inf
        return ratio, np.where(alpha == 0.0, schedule.sigma(t_next), alpha * schedule.gamma_change(t, t_next))[()]


def x0_transfer(schedule: Schedule, t: ArrayLike, t_next: ArrayLike) -> tuple[Array, Array]:
    """(sigma'/sigma, alpha' - (sigma'/sigma) alpha): the DDIM step x' = first * x + second * x_0.

    Shapes and accuracy as :func:`transfer`. Exactly (0, alpha') if t_next is t_zero, (sigma'/sigma, alpha') from alpha
    = 0; ValueError if t is t_zero, where x holds no noise to keep.
    """
    if isinstance(t, float) and isinstance(t_next, float):
        return schedule.remember(("x0_transfer", t, t_next), lambda: _x0_transfer(schedule, t, t_next))
    return _x0_transfer(schedule, t, t_next)


def _x0_transfer(schedule: Schedule, t: ArrayLike, t_next: ArrayLike) -> tuple[Array, Array]:
    gamma, gamma_next = schedule.gamma(t), schedule.gamma(t_next)
    one = isinstance(t, float) and isinstance(t_next, float)
    if gamma == 0.0 if one else np.any(gamma == 0.0):
        fix = "use the epsilon form for a step away from t_zero"
        raise ValueError(f"t={schedule.t_zero!r} is t_zero, where sigma = 0: {fix}")
    ratio = schedule.sigma(t_next) / schedule.sigma(t)
    if one and np.isfinite(gamma_next):
        lost = 1.0 if ratio == 0.0 or np.isinf(gamma) else -schedule.gamma_change(t, t_next) / gamma
        return ratio, schedule.alpha(t_next) * lost
    with np.errstate(invalid="ignore"):  # inf / inf and 0 * inf, where the limit is taken
        lost = np.where((ratio == 0.0) | np.isinf(gamma), 1.0, -schedule.gamma_change(t, t_next) / gamma)
        gained = np.where(np.isinf(gamma_next), -ratio * schedule.alpha(t), schedule.alpha(t_next) * lost)
    return ratio, gained[()]
