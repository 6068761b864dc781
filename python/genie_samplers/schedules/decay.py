"""alpha = exp(-B / 2): the schedules that follow from the decay B = -2 log alpha = -log alpha-bar."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .._arguments import real
from .base import Array, Schedule

__all__ = ["MAX_DECAY", "Decaying", "LinearBeta"]

MAX_DECAY = 700.0  # keeps gamma^2 = expm1(B) finite


class Decaying(Schedule):
    """B rises strictly from 0 at ``t_zero``; its rate is beta(t)."""

    @abstractmethod
    def _decay(self, t: Array) -> Array: ...

    @abstractmethod
    def _decay_change(self, t: Array, t_next: Array) -> Array:
        """B(t_next) - B(t), relatively accurate."""

    @abstractmethod
    def _decay_rate(self, t: Array) -> Array: ...

    @abstractmethod
    def _time_of_decay(self, decay: Array) -> Array: ...

    def log_alpha(self, t: ArrayLike) -> Array:
        return -0.5 * self._decay(self._inside(t))

    def drift(self, t: ArrayLike) -> Array:
        return -0.5 * self._decay_rate(self._inside(t))


@dataclass(frozen=True)
class LinearBeta(Decaying):
    """beta(t) = beta_min + (beta_max - beta_min) t on t in [0, 1]; label 999 t."""

    beta_min: float = 0.1
    beta_max: float = 20.0
    t_zero, t_max, t_end = 0.0, 1.0, 1e-3

    def __post_init__(self) -> None:
        low, high = real(self.beta_min, "beta_min"), real(self.beta_max, "beta_max")
        if not (0.0 < low <= high and low + high <= 2.0 * MAX_DECAY):
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

    def _decay_rate(self, t: Array) -> Array:
        return self.beta_min + (self.beta_max - self.beta_min) * t

    def _time_of_decay(self, decay: Array) -> Array:
        slope = self.beta_max - self.beta_min  # the root's form that keeps its digits as decay -> 0
        return 2.0 * decay / (self.beta_min + np.sqrt(self.beta_min**2 + 2.0 * slope * decay))
