"""Noise schedules: the signal scale alpha(t) and the noise scale sigma(t), in float64.

    x_t = alpha(t) x_0 + sigma(t) eps     alpha is the factor of x_0 itself, NOT alpha-bar = alpha^2

Derived: ``gamma = sigma / alpha`` (EDM and k-diffusion call it sigma, DEIS rho) and ``half_log_snr
= -log gamma`` (DPM-Solver's lambda). Times and values are float64 arrays of any shape (a scalar
gives a numpy scalar), from forms that cancel at neither end (expm1, log1p). Song et al., arXiv
2011.13456, for the continuous schedules; Karras et al., arXiv 2206.00364, for EDM.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._arguments import real, reals

__all__ = [
    "EDM",
    "AlphasCumprod",
    "Schedule",
    "VPLinear",
    "check_schedule",
    "edm",
    "from_alphas_cumprod",
    "from_dict",
    "vp_linear",
]

Array = NDArray[np.float64]

_SLACK = 1e-12  # how far beyond gamma(t_max), relatively, a gamma may lie and still mean t_max
_MAX_DECAY = 700.0  # of -2 log alpha: keeps gamma^2 = expm1(decay) finite


class Schedule(ABC):
    """alpha, sigma and their inverses on [t_zero, t_max]; gamma rises strictly from 0 at t_zero.

    A new schedule is a frozen dataclass with the attributes below, ``log_alpha``, ``gamma``,
    ``_time_of_gamma`` and an entry in ``from_dict``; it overrides the rest where a direct form is
    more accurate (``gamma_change``, unless t is gamma itself). Every method raises ValueError for a
    time outside [t_zero, t_max] or a NaN, TypeError for anything but real numbers.
    """

    name: ClassVar[str]
    t_zero: float  # the time of gamma = 0 (clean data)
    t_max: float  # the time of most noise; where sampling starts unless told otherwise
    t_end: float  # where a grid ends unless told otherwise: the least time a network is trained for
    knots: tuple[float, ...] = ()  # the times inside, rising, where the derivative jumps

    @abstractmethod
    def log_alpha(self, t: ArrayLike) -> Array: ...

    @abstractmethod
    def gamma(self, t: ArrayLike) -> Array:
        """Noise-to-signal ratio sigma / alpha."""

    @abstractmethod
    def _time_of_gamma(self, gamma: Array) -> Array: ...

    def alpha(self, t: ArrayLike) -> Array:
        """Signal scale: the factor of x_0."""
        return np.exp(self.log_alpha(t))

    def sigma(self, t: ArrayLike) -> Array:
        """Noise scale: the factor of eps."""
        return self.alpha(t) * self.gamma(t)

    def gamma_change(self, t: ArrayLike, t_next: ArrayLike) -> Array:
        """gamma(t_next) - gamma(t), relatively accurate however close the two times are."""
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
        _check_range(values, "gamma", 0.0, top * (1.0 + _SLACK), f"clip it to [0, {top!r}]")
        return np.clip(self._time_of_gamma(values), self.t_zero, self.t_max)

    def time_of_half_log_snr(self, half_log_snr: ArrayLike) -> Array:
        """Inverse of :meth:`half_log_snr` (+inf: t_zero), clipped into [t_zero, t_max].

        ValueError unless half_log_snr >= half_log_snr(t_max) - 1e-12.
        """
        values, least = reals(half_log_snr, "half_log_snr"), float(self.half_log_snr(self.t_max))
        fix = f"clip it to {least!r} or more"
        _check_range(values, "half_log_snr", least - _SLACK, np.inf, fix)
        return np.clip(self._time_of_gamma(np.exp(-values)), self.t_zero, self.t_max)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready recipe; :func:`from_dict` rebuilds an equal schedule from it."""
        options = {key: getattr(self, key) for key in _options(type(self))}
        lists = {key: list(value) for key, value in options.items() if isinstance(value, tuple)}
        return {"name": self.name, **options, **lists}

    def _inside(self, t: ArrayLike) -> Array:
        times = reals(t, "t")
        fix = f"take times from a grid of this schedule ({self.name})"
        _check_range(times, "t", self.t_zero, self.t_max, fix)
        return times


class _VariancePreserving(Schedule):
    """alpha^2 + sigma^2 = 1: everything follows from the decay B = -2 log alpha = -log alpha-bar.

    B rises strictly from 0 at ``t_zero``; gamma^2 = expm1(B).
    """

    @abstractmethod
    def _decay(self, t: Array) -> Array: ...

    @abstractmethod
    def _decay_change(self, t: Array, t_next: Array) -> Array:
        """B(t_next) - B(t), relatively accurate."""

    @abstractmethod
    def _time_of_decay(self, decay: Array) -> Array: ...

    def log_alpha(self, t: ArrayLike) -> Array:
        return -0.5 * self._decay(self._inside(t))

    def gamma(self, t: ArrayLike) -> Array:
        return np.sqrt(np.expm1(self._decay(self._inside(t))))

    def gamma_change(self, t: ArrayLike, t_next: ArrayLike) -> Array:
        t, t_next = self._inside(t), self._inside(t_next)
        change_of_square = np.exp(self._decay(t)) * np.expm1(self._decay_change(t, t_next))
        total = self.gamma(t) + self.gamma(t_next)
        return change_of_square / np.where(total > 0.0, total, 1.0)

    def _time_of_gamma(self, gamma: Array) -> Array:
        return self._time_of_decay(np.log1p(gamma * gamma))


@dataclass(frozen=True)
class VPLinear(_VariancePreserving):
    """Variance preserving with beta(t) linear on t in [0, 1] (Song et al., arXiv 2011.13456).

    B(t) = beta_min t + (beta_max - beta_min) t^2 / 2; label 999 t. ValueError unless 0 < beta_min
    <= beta_max and beta_min + beta_max <= 1400.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0
    name = "vp_linear"
    t_zero, t_max, t_end = 0.0, 1.0, 1e-3

    def __post_init__(self) -> None:
        low, high = real(self.beta_min, "beta_min"), real(self.beta_max, "beta_max")
        if not (0.0 < low <= high and low + high <= 2.0 * _MAX_DECAY):
            fix = "choose 0 < beta_min <= beta_max with a sum of at most 1400"
            raise ValueError(f"beta_min={low!r}, beta_max={high!r}: {fix}")
        vars(self).update(beta_min=low, beta_max=high)

    def label(self, t: ArrayLike) -> Array:
        return 999.0 * self._inside(t)

    def _decay(self, t: Array) -> Array:
        return t * (self.beta_min + 0.5 * (self.beta_max - self.beta_min) * t)

    def _decay_change(self, t: Array, t_next: Array) -> Array:
        half_slope = 0.5 * (self.beta_max - self.beta_min)
        return (t_next - t) * (self.beta_min + half_slope * (t + t_next))

    def _time_of_decay(self, decay: Array) -> Array:
        slope = self.beta_max - self.beta_min  # the root's form that keeps its digits as decay -> 0
        return 2.0 * decay / (self.beta_min + np.sqrt(self.beta_min**2 + 2.0 * slope * decay))


@dataclass(frozen=True)
class EDM(Schedule):
    """alpha = 1, sigma = gamma = t on [0, gamma_max] (Karras et al., arXiv 2206.00364).

    Grids end at gamma_min; label t = sigma, what EDMPrecond and k-diffusion's denoisers take (they compute c_noise
    themselves). ValueError unless 0 < gamma_min < gamma_max < inf.
    """

    gamma_min: float = 0.002
    gamma_max: float = 80.0
    name = "edm"
    t_zero = 0.0

    def __post_init__(self) -> None:
        low, high = real(self.gamma_min, "gamma_min"), real(self.gamma_max, "gamma_max")
        if not 0.0 < low < high < np.inf:
            fix = "choose 0 < gamma_min < gamma_max < inf"
            raise ValueError(f"gamma_min={low!r}, gamma_max={high!r}: {fix}")
        vars(self).update(gamma_min=low, gamma_max=high, t_end=low, t_max=high)

    def log_alpha(self, t: ArrayLike) -> Array:
        return 0.0 * self._inside(t)

    def gamma(self, t: ArrayLike) -> Array:
        return np.positive(self._inside(t))

    def _time_of_gamma(self, gamma: Array) -> Array:
        return gamma


@dataclass(frozen=True)
class AlphasCumprod(_VariancePreserving):
    """A checkpoint's table of alpha-bar; t is its real-valued index and t_zero = -1 (alpha-bar 1).

    Between the indices log alpha or alpha-bar is linear in t (``interpolation``), so every index
    but the last is a knot; label t, and 0, the least that a network knows, where t < 0. The inverse is exact piece by
    piece. ValueError unless ``alphas_cumprod`` holds at least 2 strictly falling numbers inside (0, 1).
    """

    alphas_cumprod: tuple[float, ...] = field(repr=False)
    interpolation: str = "log_alpha"
    name = "alphas_cumprod"
    t_zero, t_end = -1.0, 0.0
    # alpha-bar at t = -1, 0, ..; piece i of the curve lies between the knots i and i + 1 of it
    _bar: Array = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.interpolation not in ("log_alpha", "alpha_bar"):
            fix = "choose 'log_alpha' or 'alpha_bar'"
            raise ValueError(f"interpolation={self.interpolation!r}: {fix}")
        bar = _checked_alpha_bar(self.alphas_cumprod)
        knots = tuple(map(float, range(bar.size - 2)))
        vars(self).update(alphas_cumprod=tuple(bar[1:].tolist()), _bar=bar)
        vars(self).update(knots=knots, t_max=float(len(knots)))

    def label(self, t: ArrayLike) -> Array:
        return np.maximum(self._inside(t), 0.0)

    def _piece(self, t: Array) -> tuple[NDArray[np.intp], Array]:
        """Piece that holds t and the fraction of it that lies before t."""
        i = np.clip(np.floor(t).astype(np.intp) + 1, 0, self._bar.size - 2)
        return i, t - (i - 1)

    def _rise(self, i: NDArray[np.intp], span: Array, f: Array) -> Array:
        """Rise of B inside piece i from the fraction f - span of it to f."""
        if self.interpolation == "log_alpha":
            return span * self._rise_of_knots(i, i + 1)
        bar, bar_next = self._bar[i], self._bar[i + 1]
        return np.log1p(span * (bar - bar_next) / ((1.0 - f) * bar + f * bar_next))

    def _rise_of_knots(self, i: NDArray[np.intp], j: NDArray[np.intp]) -> Array:
        """Rise of B from knot i to knot j >= i."""
        return np.log1p((self._bar[i] - self._bar[j]) / self._bar[j])

    def _decay(self, t: Array) -> Array:
        i, f = self._piece(t)
        return self._rise(i, f, f) - np.log(self._bar[i])

    def _decay_change(self, t: Array, t_next: Array) -> Array:
        low: Array = np.minimum(t, t_next)
        high: Array = np.maximum(t, t_next)
        (i, _), (j, f) = self._piece(low), self._piece(high)
        to_knot, from_knot = self._rise(i, i - low, np.ones_like(f)), self._rise(j, f, f)
        across = to_knot + self._rise_of_knots(np.minimum(i + 1, j), j) + from_knot
        within = self._rise(j, high - low, f)
        return np.sign(t_next - t) * np.where(i == j, within, across)

    def _time_of_decay(self, decay: Array) -> Array:
        decay_of_knots = -np.log(self._bar)
        i = np.searchsorted(decay_of_knots, decay, side="right") - 1
        i = np.clip(i, 0, self._bar.size - 2)
        beyond = decay - decay_of_knots[i]
        if self.interpolation == "log_alpha":
            return i - 1 + beyond / self._rise_of_knots(i, i + 1)
        return i - 1 - np.expm1(-beyond) / ((self._bar[i] - self._bar[i + 1]) / self._bar[i])


vp_linear = VPLinear  # the names by which users build schedules: gs.schedules.vp_linear(...)
edm = EDM


def from_alphas_cumprod(alphas_cumprod: ArrayLike, *, interpolation: str = "log_alpha") -> AlphasCumprod:
    """Schedule through a 1-D table of alpha-bar (``alphas_cumprod`` of a diffusers scheduler).

    ``interpolation``: "log_alpha" (as DPM-Solver) or "alpha_bar" (as DEIS).
    """
    return AlphasCumprod(alphas_cumprod, interpolation)  # type: ignore[arg-type]


def from_dict(recipe: Mapping[str, Any]) -> Schedule:
    """The schedule that :meth:`Schedule.to_dict` described; ValueError for an unknown recipe."""
    if not isinstance(recipe, Mapping):
        raise TypeError(f"schedule recipe={recipe!r}: give the mapping that to_dict returned")
    kinds: dict[str, type[Schedule]] = {kind.name: kind for kind in (VPLinear, EDM, AlphasCumprod)}
    options = dict(recipe)
    name = options.pop("name", None)
    if not isinstance(name, str) or name not in kinds:
        raise ValueError(f"schedule name={name!r}: choose one of {sorted(kinds)}")
    if options.keys() != set(_options(kinds[name])):
        fix = f"give exactly {_options(kinds[name])}"
        raise ValueError(f"schedule {name} with options {list(options)}: {fix}")
    return kinds[name](**options)


def check_schedule(schedule: object) -> None:
    """Raise TypeError for anything but a schedule."""
    if not isinstance(schedule, Schedule):
        raise TypeError(f"schedule={schedule!r}: give a Schedule, for example genie_samplers.schedules.vp_linear()")


def _options(kind: type[Schedule]) -> list[str]:
    return [entry.name for entry in fields(kind) if entry.init]  # type: ignore[arg-type]


def _checked_alpha_bar(table: ArrayLike) -> Array:
    """The table with the alpha-bar of clean data, 1, put before it."""
    bar = reals(table, "alphas_cumprod")
    if bar.ndim != 1 or bar.size < 2:
        raise ValueError(f"alphas_cumprod has shape {bar.shape}: give 2 or more numbers in 1-D")
    fix = "drop a last entry of 0 (no signal left: gamma = inf)"
    _check_range(bar, "alphas_cumprod", np.exp(-_MAX_DECAY), 1.0, fix)
    bar = np.concatenate(([1.0], bar))
    bar.setflags(write=False)
    if not (np.diff(bar) < 0.0).all():
        k = int(np.argmax(np.diff(bar) >= 0.0))
        fix = "give the cumulative product of 1 - beta, every beta inside (0, 1)"
        raise ValueError(f"alphas_cumprod[{k}]={bar[k + 1]!s} does not fall from {bar[k]!s}: {fix}")
    return bar


def _check_range(values: Array, argument: str, low: float, high: float, fix: str) -> None:
    inside = (values >= low) & (values <= high)
    if not inside.all():
        worst = float(np.extract(~inside, values)[0])
        raise ValueError(f"{argument}={worst!r} is outside [{float(low)!r}, {float(high)!r}]: {fix}")
