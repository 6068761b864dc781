"""A schedule that keeps what it has computed, for as long as plans are built on one grid."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .base import Array, Schedule

__all__ = ["Remembered"]

_FEW = 64  # elements of an array that is gathered, not computed


class Remembered(Schedule):
    """``schedule``, its values at ``times`` computed at once.

    Solvers ask for alpha, sigma and gamma of the same times hundreds of times, and several solvers on one grid for the
    same integrals: :meth:`remember` keeps those. ``steps``: pairs of times over which changes and integrals will be
    asked for, by default each time and the next. The numbers are the schedule's own. Not for threads.
    """

    def __init__(
        self, schedule: Schedule, times: ArrayLike, steps: Sequence[tuple[float, float]] | None = None
    ) -> None:
        schedule = schedule.schedule if isinstance(schedule, Remembered) else schedule
        self.schedule, self.name = schedule, schedule.name  # type: ignore[misc]
        self.preferred_grid, self.shift = schedule.preferred_grid, schedule.shift  # type: ignore[misc]
        self.t_zero, self.t_max, self.t_end, self.knots = (
            schedule.t_zero,
            schedule.t_max,
            schedule.t_end,
            schedule.knots,
        )
        self._at = np.asarray(times, dtype=np.float64)
        self._times = self._at.tolist()
        self._values: dict[str, dict[float, Any]] = {}
        self.remembered_steps = tuple(itertools.pairwise(self._times)) if steps is None else tuple(steps)
        starts, ends = np.array(self.remembered_steps).reshape(-1, 2).T
        changes = schedule.gamma_change(starts, ends)
        self._kept: dict[Hashable, Any] = dict(zip(self.remembered_steps, changes, strict=True))

    def remember(self, key: Hashable, compute: Callable[[], Any]) -> Any:
        if key not in self._kept:
            self._kept[key] = compute()
        return self._kept[key]

    def log_alpha(self, t: ArrayLike) -> Array:
        return self._value("log_alpha", t)

    def alpha(self, t: ArrayLike) -> Array:
        return self._value("alpha", t)

    def sigma(self, t: ArrayLike) -> Array:
        return self._value("sigma", t)

    def gamma(self, t: ArrayLike) -> Array:
        return self._value("gamma", t)

    def log_gamma(self, t: ArrayLike) -> Array:
        return self._value("log_gamma", t)

    def noise_share(self, t: ArrayLike) -> Array:
        return self._value("noise_share", t)

    def gamma_change(self, t: ArrayLike, t_next: ArrayLike) -> Array:
        if isinstance(t, float) and isinstance(t_next, float):
            return self.remember((t, t_next), lambda: self.schedule.gamma_change(t, t_next))
        return self.schedule.gamma_change(t, t_next)

    def drift(self, t: ArrayLike) -> Array:
        return self.schedule.drift(t)

    def diffusion_squared(self, t: ArrayLike) -> Array:
        return self.schedule.diffusion_squared(t)

    def label(self, t: ArrayLike) -> Array:
        return self.schedule.label(t)

    def time_of_gamma(self, gamma: ArrayLike) -> Array:
        return self.schedule.time_of_gamma(gamma)

    def time_of_half_log_snr(self, half_log_snr: ArrayLike) -> Array:
        return self.schedule.time_of_half_log_snr(half_log_snr)

    def time_of_noise_share(self, noise_share: ArrayLike) -> Array:
        return self.schedule.time_of_noise_share(noise_share)

    def to_dict(self) -> dict[str, Any]:
        return self.schedule.to_dict()

    def _time_of_gamma(self, gamma: Array) -> Array:
        return self.schedule.time_of_gamma(gamma)

    def _value(self, name: str, t: ArrayLike) -> Any:
        kept = self._values.get(name)
        if kept is None:
            kept = self._values[name] = dict(zip(self._times, getattr(self.schedule, name)(self._at), strict=True))
        if isinstance(t, float):
            value = kept.get(t)
            if value is None:
                value = kept[t] = getattr(self.schedule, name)(t)
            return value
        if isinstance(t, np.ndarray) and t.ndim == 1 and t.size <= _FEW and t.dtype == np.float64:
            times = t.tolist()
            try:
                return np.array([kept[at] for at in times])
            except KeyError:
                return np.array([self._value(name, at) for at in times])
        return getattr(self.schedule, name)(t)
