"""What every schedule offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from dataclasses import fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._arguments import reals

__all__ = ["Array", "Schedule", "check_range", "check_schedule", "option_names"]

Array = NDArray[np.float64]

_FAR = 1000.0  # a gamma in place of infinity
_SLACK = 1e-12  # how far beyond gamma(t_max), relatively, a gamma may lie and still mean t_max


class Schedule(ABC):
    """alpha, sigma and their inverses on [t_zero, t_max]; gamma rises strictly from 0 at t_zero.

    A schedule may begin where no signal is left: alpha(t_max) = 0, gamma(t_max) = inf, log_alpha(t_max) = -inf and,
    where d log alpha / dt has no limit, infinite rates. :attr:`starts_in_pure_noise` says so.

    The forward SDE is dx = F x dt + G dw (Song et al., arXiv 2011.13456). A new schedule is a frozen
    dataclass with the attributes below, the abstract methods and an entry in ``from_dict``; it
    overrides the rest where a direct form is more accurate (``gamma_change``, unless t is gamma
    itself). Every method raises ValueError for a time outside [t_zero, t_max] or a NaN, TypeError for
    anything but real numbers.
    """

    name: ClassVar[str]
    preferred_grid: ClassVar[str | None] = None  # where the solvers' defaults, measured on vp_linear, make no sense
    t_zero: float  # the time of gamma = 0 (clean data)
    t_max: float  # the time of most noise; where sampling starts unless told otherwise
    t_end: float  # where a grid ends unless told otherwise: the least time a network is trained for
    shift: float = 3.0  # of the grid shifted_t, unless told otherwise
    knots: tuple[float, ...] = ()  # the times inside, rising, where the derivative jumps
    remembered_steps: tuple[tuple[float, float], ...] = ()  # what Remembered computes at once

    @abstractmethod
    def log_alpha(self, t: ArrayLike) -> Array: ...

    @abstractmethod
    def gamma(self, t: ArrayLike) -> Array:
        """Noise-to-signal ratio sigma / alpha."""

    @abstractmethod
    def drift(self, t: ArrayLike) -> Array:
        """F = d log alpha / dt. At a knot that of the piece below, into which a sampler steps."""

    @abstractmethod
    def diffusion_squared(self, t: ArrayLike) -> Array:
        """G^2 = alpha^2 d(gamma^2) / dt, finite at ``t_zero`` too. At a knot as :meth:`drift`."""

    @abstractmethod
    def _time_of_gamma(self, gamma: Array) -> Array: ...

    def alpha(self, t: ArrayLike) -> Array:
        """Signal scale: the factor of x_0."""
        return np.exp(self.log_alpha(t))

    def sigma(self, t: ArrayLike) -> Array:
        """Noise scale: the factor of eps."""
        return self.alpha(t) * self.gamma(t)

    @property
    def starts_in_pure_noise(self) -> bool:
        """Whether alpha(t_max) = 0: the state there says nothing about the data."""
        return bool(self.alpha(self.t_max) == 0.0)

    @property
    def finite_ends(self) -> tuple[float, float]:
        """(t_max, t_end), or the time of gamma = 1000 for the one and of 1/1000 for the other where log gamma is
        infinite: the range of what goes by log gamma.
        """
        start = float(self.time_of_gamma(_FAR)) if self.starts_in_pure_noise else self.t_max
        return start, float(self.time_of_gamma(1.0 / _FAR)) if self.t_end == self.t_zero else self.t_end

    def noise_share(self, t: ArrayLike) -> Array:
        """sigma / (alpha + sigma), the time of the straight path from data to noise: 0 to at most 1, always finite."""
        alpha, sigma = self.alpha(t), self.sigma(t)
        return sigma / (alpha + sigma)

    def time_of_noise_share(self, noise_share: ArrayLike) -> Array:
        """Inverse of :meth:`noise_share`; ValueError outside [0, noise_share(t_max) * (1 + 1e-12)]."""
        values, top = reals(noise_share, "noise_share"), float(self.noise_share(self.t_max))
        check_range(values, "noise_share", 0.0, top * (1.0 + _SLACK), f"clip it to [0, {top!r}]")
        clipped = np.minimum(values, top)
        with np.errstate(divide="ignore"):
            gamma = clipped / (1.0 - clipped)
        return np.clip(self._time_of_gamma(gamma), self.t_zero, self.t_max)

    def gamma_change(self, t: ArrayLike, t_next: ArrayLike) -> Array:
        """gamma(t_next) - gamma(t), relatively accurate however close the times are; infinite at gamma = inf."""
        return self.gamma(t_next) - self.gamma(t)

    def log_gamma(self, t: ArrayLike) -> Array:
        """log(sigma / alpha); -inf at ``t_zero``."""
        with np.errstate(divide="ignore"):
            return np.log(self.gamma(t))

    def half_log_snr(self, t: ArrayLike) -> Array:
        """log(alpha / sigma) = -log gamma, DPM-Solver's lambda; +inf at ``t_zero``."""
        return -self.log_gamma(t)

    def label(self, t: ArrayLike) -> Array:
        """What a network of this schedule usually wants for t; t itself unless overridden."""
        return np.positive(self._inside(t))

    def time_of_gamma(self, gamma: ArrayLike) -> Array:
        """Inverse of :meth:`gamma`, clipped into [t_zero, t_max].

        ValueError unless 0 <= gamma <= gamma(t_max) * (1 + 1e-12).
        """
        values, top = reals(gamma, "gamma"), float(self.gamma(self.t_max))
        check_range(values, "gamma", 0.0, top * (1.0 + _SLACK), f"clip it to [0, {top!r}]")
        return np.clip(self._time_of_gamma(values), self.t_zero, self.t_max)

    def time_of_half_log_snr(self, half_log_snr: ArrayLike) -> Array:
        """Inverse of :meth:`half_log_snr` (+inf: t_zero), clipped into [t_zero, t_max].

        ValueError unless half_log_snr >= half_log_snr(t_max) - 1e-12.
        """
        values, least = reals(half_log_snr, "half_log_snr"), float(self.half_log_snr(self.t_max))
        fix = f"clip it to {least!r} or more"
        check_range(values, "half_log_snr", least - _SLACK, np.inf, fix)
        return np.clip(self._time_of_gamma(np.exp(-values)), self.t_zero, self.t_max)

    def remember(self, key: Hashable, compute: Callable[[], Any]) -> Any:
        """``compute()``; a schedule that keeps values answers a key that it knows without."""
        return compute()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready recipe; :func:`from_dict` rebuilds an equal schedule from it."""
        options = {key: getattr(self, key) for key in option_names(type(self))}
        lists = {key: list(value) for key, value in options.items() if isinstance(value, tuple)}
        return {"name": self.name, **options, **lists}

    def _inside(self, t: ArrayLike) -> Array:
        times = reals(t, "t")
        fix = f"take times from a grid of this schedule ({self.name})"
        check_range(times, "t", self.t_zero, self.t_max, fix)
        return times


def check_schedule(schedule: object) -> None:
    """Raise TypeError for anything but a schedule."""
    if not isinstance(schedule, Schedule):
        raise TypeError(f"schedule={schedule!r}: give a Schedule, for example genie_samplers.schedules.vp_linear()")


def option_names(kind: type[Schedule]) -> list[str]:
    return [entry.name for entry in fields(kind) if entry.init]  # type: ignore[arg-type]


def check_range(values: Array, argument: str, low: float, high: float, fix: str) -> None:
    inside = (values >= low) & (values <= high)
    if not inside.all():
        worst = float(np.extract(~inside, values)[0])
        raise ValueError(f"{argument}={worst!r} is outside [{float(low)!r}, {float(high)!r}]: {fix}")
