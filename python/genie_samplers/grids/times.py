"""Times that the caller chose."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._arguments import integer, reals
from ..schedules import Schedule, check_schedule

__all__ = ["given", "subdivided", "with_zero"]

Array = NDArray[np.float64]


def given(schedule: Schedule, times: ArrayLike) -> Array:
    """The caller's own times, checked: a float64 copy of 2 or more strictly monotone times.

    ValueError unless 1-D, finite, within [t_zero, t_max] and strictly falling or strictly rising.
    """
    check_schedule(schedule)
    grid = np.array(reals(times, "times"))
    schedule.gamma(grid)  # raises for times outside the schedule
    if grid.ndim != 1 or grid.size < 2:
        raise ValueError(f"times has shape {grid.shape}: give 2 or more times in 1-D")
    change = np.diff(grid)
    wrong = change * np.sign(change[0]) <= 0.0
    if wrong.any():
        k = int(np.argmax(wrong)) + 1
        fix = "give times that all fall (sampling) or all rise (encoding)"
        raise ValueError(f"times[{k}]={grid[k]!s} after {grid[k - 1]!s}: {fix}")
    return grid


def subdivided(schedule: Schedule, grid: ArrayLike, parts: int) -> Array:
    """The grid with every step cut into ``parts`` equal in log gamma; its own times stay to the last bit.

    A step that touches gamma = 0 or gamma = inf, where log gamma is infinite, is cut equally in the share of noise,
    sigma / (alpha + sigma).
    """
    times = given(schedule, grid)
    parts = integer(parts, "parts", least=1)
    place = np.arange(parts * (len(times) - 1) + 1) / parts
    shares = np.interp(place, np.arange(len(times)), schedule.noise_share(times))
    result = schedule.time_of_noise_share(shares)
    finite = np.flatnonzero(np.isfinite(schedule.half_log_snr(times)))
    if finite.size:  # all in between, as only the ends can be infinite
        within = slice(parts * finite[0], parts * finite[-1] + 1)
        fine = np.interp(place[within], finite, schedule.half_log_snr(times[finite]))
        result[within] = schedule.time_of_half_log_snr(fine)
    result[::parts] = times
    return result


def with_zero(schedule: Schedule, grid: ArrayLike) -> Array:
    """The falling grid with t_zero appended: a last step to gamma = 0 ("denoise").

    ValueError for a rising grid (reverse the result to encode) and one that ends at t_zero already.
    """
    times = given(schedule, grid)
    if times[-1] > times[0]:
        raise ValueError(f"grid rises from {times[0]!s} to {times[-1]!s}: give it falling, reverse the result")
    if times[-1] == schedule.t_zero:
        raise ValueError(f"grid ends at t_zero={schedule.t_zero!r} already: use it as it is")
    return np.append(times, schedule.t_zero)
