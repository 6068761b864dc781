"""The candidate times of a grid search."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .. import grids
from ..schedules import Schedule

__all__ = ["lattice"]

Array = NDArray[np.float64]

_STANDARD = (grids.power_gamma, grids.uniform_half_log_snr, grids.uniform_t)
_RESOLUTION = 2000


def lattice(schedule: Schedule, steps: int) -> Array:
    """steps + 1 falling times, t_max to t_end, that follow the Karras, log-SNR and uniform-t grids in equal parts.

    Parts of a way that touches gamma = inf or gamma = 0 are measured by the share of noise, not by log gamma.
    """
    if schedule.starts_in_pure_noise or schedule.t_end == schedule.t_zero:
        return _by_noise_share(schedule, steps)
    fraction = np.linspace(0.0, 1.0, _RESOLUTION + 1)
    standard = [schedule.half_log_snr(make(schedule, _RESOLUTION)) for make in _STANDARD]
    dense = standard[1]
    passed = np.mean([np.interp(dense, grid, fraction) for grid in standard], axis=0)
    return _times(schedule, np.interp(np.linspace(0.0, 1.0, steps + 1), passed, dense))


def _by_noise_share(schedule: Schedule, steps: int) -> Array:
    fraction = np.linspace(0.0, 1.0, _RESOLUTION + 1)
    standard = [-schedule.noise_share(make(schedule, _RESOLUTION)) for make in _STANDARD]
    dense = np.unique(np.concatenate(standard))
    passed = np.mean([np.interp(dense, grid, fraction) for grid in standard], axis=0)
    share = -np.interp(np.linspace(0.0, 1.0, steps + 1), passed, dense)
    times = schedule.time_of_noise_share(share)
    times[0], times[-1] = schedule.t_max, schedule.t_end
    return times


def _times(schedule: Schedule, half_log_snr: Array) -> Array:
    times = schedule.time_of_half_log_snr(half_log_snr)
    times[0], times[-1] = schedule.t_max, schedule.t_end
    return times
