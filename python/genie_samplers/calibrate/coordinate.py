"""Where a learned time lives: log gamma, or the share of noise where log gamma is infinite; slopes by differences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ..schedules import Schedule

__all__ = ["Coordinate"]

Array = NDArray[np.float64]

_STEP = 1e-4  # of a difference quotient, in parts of the smallest gap


@dataclass(frozen=True)
class Coordinate:
    """A coordinate that falls along a grid, finite at both its ends, ``first`` and ``last``.

    What depends on it is computed in float64 on the host; :meth:`along` gives it the gradient of a difference quotient,
    so that every schedule can be learned on, whatever its formulas.
    """

    schedule: Schedule
    times: tuple[float, float]  # of the ends
    by_share: bool

    @classmethod
    def of(cls, schedule: Schedule, times: Array) -> Coordinate:
        by_share = not np.isfinite(schedule.log_gamma(times[[0, -1]])).all()
        return cls(schedule, (float(times[0]), float(times[-1])), by_share)

    @property
    def ends(self) -> tuple[float, float]:
        first, last = self.of_time(np.array(self.times)).tolist()
        return first, last

    def of_time(self, times: ArrayLike) -> Array:
        return self.schedule.noise_share(times) if self.by_share else self.schedule.log_gamma(times)

    def time(self, values: ArrayLike) -> Array:
        """The inverse; the ends themselves where a value lies within a rounding of them."""
        (first, last), (start, end) = self.ends, self.times
        inside = np.clip(np.asarray(values, dtype=np.float64), last, first)
        found = (
            self.schedule.time_of_noise_share(inside) if self.by_share else self.schedule.time_of_half_log_snr(-inside)
        )
        close = 1e-14 * max(abs(first), abs(last))
        return np.where(
            inside >= first - close, start, np.where(inside <= last + close, end, np.clip(found, end, start))
        )

    def around(self, value: float, gap: float) -> tuple[float, float]:
        """Two values on both sides, within the ends."""
        first, last = self.ends
        return max(last, value - _STEP * gap), min(first, value + _STEP * gap)

    def along(self, function: Callable[..., ArrayLike], gap: float, *points: Tensor) -> Tensor:
        """function of the times of these points, each a scalar, as a tensor whose gradient reaches the points."""
        at = [float(point.detach()) for point in points]

        def value(moved: list[float]) -> Array:
            return np.asarray(function(*(float(self.time(s)) for s in moved)), dtype=np.float64)

        made = torch.from_numpy(value(at))
        for k, point in enumerate(points):
            low, high = self.around(at[k], gap)
            slope = (value([*at[:k], high, *at[k + 1 :]]) - value([*at[:k], low, *at[k + 1 :]])) / (high - low)
            made = made + torch.from_numpy(slope) * (point - point.detach())
        return made
