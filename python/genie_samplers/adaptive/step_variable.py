"""The variable u in which steps are chosen, from t_start to t_end."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..numerics import VARIABLES
from ..schedules import Schedule

__all__ = ["StepVariable"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class StepVariable:
    """``variable`` is "t", "gamma" or "log_gamma". With v = x / alpha the ODE along it is dv/du = epsilon dgamma/du."""

    schedule: Schedule
    t_start: float
    t_end: float
    variable: str

    def __post_init__(self) -> None:
        if self.variable not in VARIABLES:
            raise ValueError(f"variable={self.variable!r}: choose one of {VARIABLES}")
        low, high = self.schedule.t_zero, self.schedule.t_max
        for name, t in (("t_start", self.t_start), ("t_end", self.t_end)):
            if not low <= t <= high:
                raise ValueError(f"{name}={t!r} is outside [{low!r}, {high!r}]: choose a time of {self.schedule.name}")
            if t == low and self.variable != "gamma":
                infinite = "log gamma" if self.variable == "log_gamma" else "dgamma/dt"
                fix = f"use {self.schedule.t_end!r}, when sampling with denoise=True for a last step to gamma = 0"
                raise ValueError(f"{name}={t!r} is t_zero, where {infinite} is not finite: {fix}")
        if self.start == self.end:
            raise ValueError(
                f"t_start={self.t_start!r}, t_end={self.t_end!r}: equal in {self.variable}; move them apart"
            )

    @cached_property
    def start(self) -> float:
        return float(self.u(self.t_start))

    @cached_property
    def end(self) -> float:
        return float(self.u(self.t_end))

    def u(self, t: ArrayLike) -> Array:
        match self.variable:
            case "t":
                return np.asarray(t, dtype=np.float64)
            case "gamma":
                return self.schedule.gamma(t)
            case _:
                return self.schedule.log_gamma(t)

    def times(self, u: Array) -> Array:
        """t of u between both ends, which are exact."""
        u = np.clip(u, min(self.start, self.end), max(self.start, self.end))
        match self.variable:
            case "t":
                t = u
            case "gamma":
                t = self.schedule.time_of_gamma(u)
            case _:
                t = self.schedule.time_of_half_log_snr(-u)
        t = np.clip(t, min(self.t_start, self.t_end), max(self.t_start, self.t_end))
        return np.where(u == self.end, self.t_end, np.where(u == self.start, self.t_start, t))

    def slope(self, t: Array) -> Array:
        """dgamma/du; in t it is G^2 / (2 alpha sigma)."""
        match self.variable:
            case "t":
                return self.schedule.diffusion_squared(t) / (2.0 * self.schedule.alpha(t) * self.schedule.sigma(t))
            case "gamma":
                return np.ones_like(t)
            case _:
                return self.schedule.gamma(t)
