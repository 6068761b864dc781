"""The variable u in which steps are chosen, from t_start to t_end, and the ODE along it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import predictions
from ..numerics import transfer
from ..schedules import Schedule

__all__ = ["VARIABLES", "StepVariable"]

Array = NDArray[np.float64]

VARIABLES = ("t", "gamma", "log_gamma", "noise_share")


@dataclass(frozen=True)
class StepVariable:
    """``variable`` is one of :data:`VARIABLES`. With y = x / scale the ODE along it is dy/du = slope * prediction.

    noise_share, sigma / (alpha + sigma), which is t on a flow schedule: scale alpha + sigma and slope 1, of epsilon -
    x_0, finite at alpha = 0 and at sigma = 0. Others: scale alpha and slope dgamma/du, of epsilon.
    """

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
            self._check_finite(name, t)
        if self.start == self.end:
            raise ValueError(
                f"t_start={self.t_start!r}, t_end={self.t_end!r}: equal in {self.variable}; move them apart"
            )

    def _check_finite(self, name: str, t: float) -> None:
        schedule, infinite = self.schedule, "log gamma" if self.variable == "log_gamma" else "dgamma/dt"
        if self.variable == "noise_share":
            return
        if schedule.alpha(t) == 0.0:
            fix = "use variable='noise_share', or a time of less noise"
            raise ValueError(f"{name}={t!r} is pure noise, where {self.variable} has no finite ODE: {fix}")
        if t == schedule.t_zero and self.variable != "gamma":
            fix = "use variable='noise_share'"
            if schedule.t_end != schedule.t_zero:
                fix = f"use {schedule.t_end!r}, when sampling with denoise=True for a last step to gamma = 0"
            raise ValueError(f"{name}={t!r} is t_zero, where {infinite} is not finite: {fix}")

    @property
    def quantity(self) -> str:
        """What the prediction is, as of a plan."""
        return "flow" if self.variable == "noise_share" else "epsilon"

    def conversion(self, prediction: str, t: ArrayLike) -> tuple[Array, Array]:
        """(p, q) of the prediction, p x + q output."""
        convert = predictions.to_flow if self.variable == "noise_share" else predictions.to_epsilon
        return convert(prediction, self.schedule, t)

    def scale(self, t: ArrayLike) -> Array:
        alpha = self.schedule.alpha(t)
        return alpha + self.schedule.sigma(t) if self.variable == "noise_share" else alpha

    def first_order(self, t: ArrayLike, t_next: ArrayLike) -> tuple[Array, Array]:
        """(scale'/scale, weight of the prediction): the first-order step, DDIM's."""
        if self.variable != "noise_share":
            return transfer(self.schedule, t, t_next)
        scale = self.scale(t_next)
        return scale / self.scale(t), scale * (self.schedule.noise_share(t_next) - self.schedule.noise_share(t))

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
            case "noise_share":
                return self.schedule.noise_share(t)
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
            case "noise_share":
                t = self.schedule.time_of_noise_share(u)
            case _:
                t = self.schedule.time_of_half_log_snr(-u)
        t = np.clip(t, min(self.t_start, self.t_end), max(self.t_start, self.t_end))
        return np.where(u == self.end, self.t_end, np.where(u == self.start, self.t_start, t))

    def slope(self, t: Array) -> Array:
        """Of the prediction in dy/du; in t dgamma/du is G^2 / (2 alpha sigma)."""
        match self.variable:
            case "t":
                return self.schedule.diffusion_squared(t) / (2.0 * self.schedule.alpha(t) * self.schedule.sigma(t))
            case "gamma" | "noise_share":
                return np.ones_like(t)
            case _:
                return self.schedule.gamma(t)
