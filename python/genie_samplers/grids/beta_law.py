"""Noise levels spread as the Beta distribution: dense at both ends (Lee et al., arXiv 2407.12173)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._arguments import integer, real, reals
from ..schedules import Schedule, check_schedule

__all__ = ["beta_gamma", "beta_quantile"]

Array = NDArray[np.float64]

_TERMS = 64  # of a series in powers of at most 1/2
_HALVINGS = 64


def beta_gamma(schedule: Schedule, steps: int, *, a: float = 0.6, b: float = 0.6) -> Array:
    """``steps`` times whose gamma lies at the quantiles 1 .. 0 of Beta(a, b), from t_max to t_end, and then t_zero.

    ``use_beta_sigmas`` of diffusers. ValueError where gamma(t_max) is infinite (on flow take ``flow_beta``), and unless
    a, b > 0.
    """
    check_schedule(schedule)
    steps = integer(steps, "steps", least=1)
    high, low = float(schedule.gamma(schedule.t_max)), float(schedule.gamma(schedule.t_end))
    if not math.isfinite(high) or low == 0.0:
        fix = "take flow_beta on flow, uniform_t elsewhere"
        raise ValueError(f"schedule={schedule!r} starts at gamma={high!r} and ends at gamma={low!r}: {fix}")
    gamma = low + (high - low) * beta_quantile(1.0 - np.linspace(0.0, 1.0, steps), a, b)
    times = schedule.time_of_gamma(np.clip(gamma, low, high))
    times[0] = schedule.t_max
    if steps > 1:
        times[-1] = schedule.t_end
    if not np.all(np.diff(times) < 0.0):
        raise ValueError(f"steps={steps}: two times of the grid are equal in float64; take fewer steps")
    return np.append(times, schedule.t_zero)


def beta_quantile(probability: ArrayLike, a: float, b: float) -> Array:
    """x with P(X <= x) = probability for X ~ Beta(a, b), float64; ValueError unless 0 <= probability <= 1, a, b > 0."""
    p, a, b = reals(probability, "probability"), real(a, "a"), real(b, "b")
    if not (0.0 < a < math.inf and 0.0 < b < math.inf):
        raise ValueError(f"a={a!r}, b={b!r}: give positive finite numbers")
    if not ((p >= 0.0) & (p <= 1.0)).all():
        raise ValueError(f"probability={p!r}: give numbers from 0 to 1")
    below, above = float(_mass(np.array(0.5), a, b)), float(_mass(np.array(0.5), b, a))
    mass, rest = p * (below + above), (1.0 - p) * (below + above)
    return np.where(mass <= below, _inverse(np.minimum(mass, below), a, b), 1.0 - _inverse(rest, b, a))


def _mass(x: Array, a: float, b: float) -> Array:
    """Integral of u^(a-1) (1-u)^(b-1) over 0..x <= 1/2, by the power series of its second factor."""
    n = np.arange(_TERMS)
    coefficients = np.cumprod(np.concatenate(([1.0], 1.0 - b / n[1:]))) / (a + n)
    return x**a * np.sum(coefficients * x[..., None] ** n, axis=-1)


def _inverse(mass: Array, a: float, b: float) -> Array:
    """x in [0, 1/2] of this mass; bisection in x^a, in which the mass is nearly linear."""
    low, high = np.zeros_like(mass), np.full_like(mass, 0.5**a)
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        short = _mass(middle ** (1.0 / a), a, b) < mass
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    return low ** (1.0 / a)
