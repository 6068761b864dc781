"""Grids of real-valued times, for any schedule."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .._arguments import integer, real
from ..schedules import Schedule, check_schedule

__all__ = ["power_gamma", "power_t", "quadratic_t", "shifted_t", "uniform_half_log_snr", "uniform_t"]

Array = NDArray[np.float64]


def power_t(
    schedule: Schedule,
    steps: int,
    *,
    power: float = 1.0,
    t_start: float | None = None,
    t_end: float | None = None,
) -> Array:
    """Uniform in t^(1/power): 1 is uniform in t, 2 DEIS's quadratic grid.

    t is counted from 0, also where the schedule's t_zero is -1 (a discrete checkpoint's grid is
    that of DEIS, 999 .. 0); a grid that ends below 0 counts from t_zero instead.
    """
    start, end = _ends(schedule, t_start, t_end)
    origin = schedule.t_zero if end < 0.0 else 0.0
    falling = _power_law(start - origin, end - origin, integer(steps, "steps", least=1), power)
    return _pinned(origin + falling, start, end)


def uniform_t(schedule: Schedule, steps: int, *, t_start: float | None = None, t_end: float | None = None) -> Array:
    """Equal steps in t: :func:`power_t` with power 1."""
    return power_t(schedule, steps, power=1.0, t_start=t_start, t_end=t_end)


def quadratic_t(schedule: Schedule, steps: int, *, t_start: float | None = None, t_end: float | None = None) -> Array:
    """Equal steps in sqrt(t): :func:`power_t` with power 2."""
    return power_t(schedule, steps, power=2.0, t_start=t_start, t_end=t_end)


def shifted_t(
    schedule: Schedule,
    steps: int,
    *,
    shift: float | None = None,
    t_start: float | None = None,
    t_end: float | None = None,
) -> Array:
    """Uniform in the time of gamma / shift, so that more of the steps lie at high noise; 1 is uniform in t.

    On ``flow`` this is the timestep shift t -> shift t / (1 + (shift - 1) t) of Esser et al. (arXiv 2403.03206;
    their SD3 takes 3). By default the schedule's ``shift``. ValueError unless 0 < shift < inf, and for a shift below 1
    where the grid starts at a finite gamma.
    """
    start, end = _ends(schedule, t_start, t_end)
    shift = real(schedule.shift if shift is None else shift, "shift")
    high, low = float(schedule.gamma(start)), float(schedule.gamma(end))
    if not (shift == 1.0 or (1.0 if math.isfinite(high) else 0.0) < shift < math.inf):
        raise ValueError(f"shift={shift!r}: give a finite number, of 1 or more where the grid starts at finite gamma")
    if shift == 1.0:
        return uniform_t(schedule, steps, t_start=start, t_end=end)
    first, last = schedule.time_of_gamma([high / shift, low / shift])
    unshifted = np.linspace(first, last, integer(steps, "steps", least=1) + 1)
    return _pinned(schedule.time_of_gamma(np.clip(shift * schedule.gamma(unshifted), low, high)), start, end)


def power_gamma(
    schedule: Schedule,
    steps: int,
    *,
    power: float = 7.0,
    t_start: float | None = None,
    t_end: float | None = None,
) -> Array:
    """Uniform in gamma^(1/power); power 7 is the grid of Karras et al. (2206.00364, eq. 5).

    From alpha = 0, where gamma is infinite, uniform in the same power of the noise share sigma / (alpha + sigma). A
    flow schedule's grid ends at t = 0 by a step from the last time before it of :func:`shifted_t`, which makes the
    grid that of diffusers' FlowMatchEulerDiscreteScheduler with ``use_karras_sigmas``.
    """
    start, end = _ends(schedule, t_start, t_end)
    if _ends_by_a_step(schedule, end):
        return _with_last_step(power_gamma, schedule, steps, start, end, power=power)
    if math.isinf(schedule.gamma(start)):
        high, low = (float(v) for v in schedule.noise_share([start, end]))
        shares = _power_law(high, low, integer(steps, "steps", least=1), power)
        return _pinned(schedule.time_of_noise_share(np.clip(shares, 0.0, 1.0)), start, end)
    high, low = float(schedule.gamma(start)), float(schedule.gamma(end))
    gamma = _power_law(high, low, integer(steps, "steps", least=1), power)
    return _pinned(schedule.time_of_gamma(np.clip(gamma, low, high)), start, end)


def uniform_half_log_snr(
    schedule: Schedule, steps: int, *, t_start: float | None = None, t_end: float | None = None
) -> Array:
    """Equal steps in log gamma ("logSNR", DPM-Solver). Cannot end at t_zero: -log gamma = inf.

    From alpha = 0, where log gamma is infinite, the first step is that of :func:`shifted_t` with the schedule's shift
    or, where it has none of its own, of :func:`uniform_t`. On a flow schedule so is the last.
    """
    start, end = _ends(schedule, t_start, t_end)
    steps = integer(steps, "steps", least=1)
    if _ends_by_a_step(schedule, end):
        return _with_last_step(uniform_half_log_snr, schedule, steps, start, end)
    if math.isinf(schedule.gamma(start)) and steps > 1:
        second = float(_natural(schedule, steps, start, end)[1])
        return np.append(start, uniform_half_log_snr(schedule, steps - 1, t_start=second, t_end=end))
    if math.isinf(schedule.gamma(start)):
        return _pinned(np.array([start, end]), start, end)
    if end == schedule.t_zero:
        fix = "end it later and append t_zero with with_zero(schedule, grid)"
        raise ValueError(f"t_end={end!r} is t_zero, where half_log_snr is infinite: {fix}")
    low, high = float(schedule.half_log_snr(start)), float(schedule.half_log_snr(end))
    half_log_snr = _power_law(low, high, integer(steps, "steps", least=1), 1.0)
    return _pinned(schedule.time_of_half_log_snr(half_log_snr), start, end)


def _natural(schedule: Schedule, steps: int, start: float, end: float) -> Array:
    """Equal steps in the time, or in the shifted time, of this schedule."""
    return (shifted_t if schedule.preferred_grid == "shifted_t" else uniform_t)(
        schedule, steps, t_start=start, t_end=end
    )


def _ends_by_a_step(schedule: Schedule, end: float) -> bool:
    """Whether the grid ends at gamma = 0 as a flow schedule's does, with no least time of its own before."""
    return end == schedule.t_zero == schedule.t_end


def _with_last_step(
    grid: Callable[..., Array], schedule: Schedule, steps: int, start: float, end: float, **options: float
) -> Array:
    """The grid down to where the schedule's natural one makes its last step, and that step."""
    steps = integer(steps, "steps", least=1)
    if steps == 1:
        return _pinned(np.array([start, end]), start, end)
    before = float(_natural(schedule, steps, start, end)[-2])
    if steps == 2:
        return np.array([start, before, end])
    return np.append(grid(schedule, steps - 1, t_start=start, t_end=before, **options), end)


def _ends(schedule: Schedule, t_start: float | None, t_end: float | None) -> tuple[float, float]:
    check_schedule(schedule)
    start = schedule.t_max if t_start is None else real(t_start, "t_start")
    end = schedule.t_end if t_end is None else real(t_end, "t_end")
    if not schedule.t_zero <= end < start <= schedule.t_max:
        limits = f"{schedule.t_zero!r} <= t_end < t_start <= {schedule.t_max!r}"
        fix = f"choose {limits} (to encode, reverse a falling grid)"
        raise ValueError(f"t_start={start!r}, t_end={end!r}: {fix}")
    return start, end


def _power_law(first: float, last: float, steps: int, power: float) -> Array:
    """steps + 1 values from first to last, uniform in value^(1/power)."""
    power = real(power, "power")
    if not 0.0 < power < math.inf:
        raise ValueError(f"power={power!r}: give a positive finite number")
    try:
        root_first, root_last = first ** (1.0 / power), last ** (1.0 / power)
    except OverflowError:
        root_first = root_last = math.inf
    if not math.isfinite(root_first):
        raise ValueError(f"power={power!r}: {first!r}^(1/power) is beyond float64, give a larger power")
    i = np.arange(steps + 1)
    return ((steps - i) / steps * root_first + i / steps * root_last) ** power


def _pinned(times: Array, start: float, end: float) -> Array:
    """The grid with exact ends; ValueError if float64 cannot tell two of its times apart."""
    grid = np.array(times, dtype=np.float64)
    grid[0], grid[-1] = start, end
    if not np.all(np.diff(grid) < 0.0):
        fix = "take fewer steps or a smaller power"
        raise ValueError(f"steps={grid.size - 1}: two times of the grid are equal in float64; {fix}")
    return grid
