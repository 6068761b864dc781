"""The straight line from data to noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .._arguments import real
from .base import Array, Schedule

__all__ = ["Flow"]


@dataclass(frozen=True)
class Flow(Schedule):
    """alpha = 1 - t, sigma = t (rectified flow: Liu et al., arXiv 2209.03003; Esser et al., arXiv 2403.03206).

    Plans start at t = 1, pure noise, and end at t = 0, both exactly. ``shift`` is the timestep shift that the model is
    sampled with (SD3 takes 3): it changes no alpha or sigma but where the grid ``shifted_t``, this schedule's default,
    puts its times: u -> shift u / (1 + (shift - 1) u) of equal steps in u. Label ``label_scale`` t: 1000 is that of
    diffusers' flow schedulers, 1 that of networks which take t itself. ``t_max`` below 1 is for a network that was
    never trained at t = 1. ValueError unless 0 < shift < inf, 0 < label_scale < inf and 0.5 <= t_max <= 1.
    """

    shift: float = 1.0
    label_scale: float = 1000.0
    t_max: float = 1.0
    name = "flow"
    preferred_grid = "shifted_t"
    t_zero, t_end = 0.0, 0.0

    def __post_init__(self) -> None:
        shift, label_scale = real(self.shift, "shift"), real(self.label_scale, "label_scale")
        t_max = real(self.t_max, "t_max")
        if not (0.0 < shift < np.inf and 0.0 < label_scale < np.inf):
            fix = "choose 0 < shift < inf and 0 < label_scale < inf"
            raise ValueError(f"shift={shift!r}, label_scale={label_scale!r}: {fix}")
        if not 0.5 <= t_max <= 1.0:
            raise ValueError(f"t_max={t_max!r}: choose 0.5 <= t_max <= 1; t = 1 is pure noise")
        vars(self).update(shift=shift, label_scale=label_scale, t_max=t_max)

    def label(self, t: ArrayLike) -> Array:
        return self.label_scale * self._inside(t)

    def log_alpha(self, t: ArrayLike) -> Array:
        with np.errstate(divide="ignore"):
            return np.log1p(-self._inside(t))

    def alpha(self, t: ArrayLike) -> Array:
        return 1.0 - self._inside(t)

    def sigma(self, t: ArrayLike) -> Array:
        return np.positive(self._inside(t))

    def noise_share(self, t: ArrayLike) -> Array:
        return np.positive(self._inside(t))

    def time_of_noise_share(self, noise_share: ArrayLike) -> Array:
        return np.positive(self._inside(noise_share))

    def gamma(self, t: ArrayLike) -> Array:
        return self.gamma_change(self.t_zero, t)

    def gamma_change(self, t: ArrayLike, t_next: ArrayLike) -> Array:
        t, t_next = self._inside(t), self._inside(t_next)
        with np.errstate(divide="ignore", invalid="ignore"):
            return (t_next - t) / ((1.0 - t) * (1.0 - t_next))

    def drift(self, t: ArrayLike) -> Array:
        with np.errstate(divide="ignore"):
            return -1.0 / (1.0 - self._inside(t))

    def diffusion_squared(self, t: ArrayLike) -> Array:
        return 2.0 * self.gamma(t)

    def _time_of_gamma(self, gamma: Array) -> Array:
        finite = np.where(np.isinf(gamma), 0.0, gamma)
        return np.where(np.isinf(gamma), 1.0, finite / (1.0 + finite))
