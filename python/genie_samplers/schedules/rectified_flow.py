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

    gamma = t / (1 - t) is infinite at t = 1; t_max stops at gamma = 4096, alpha^2 = 2^-24 of what follows, the stand-in
    for "no signal left" that :func:`from_betas` uses too. Label ``label_scale`` t: 1000 is that of diffusers' flow
    schedulers (SD3), 1 that of networks which take t itself. The timestep shift of SD3 is a grid, ``grids.shifted_t``.
    ValueError unless 0.001 < t_max < 1 and 0 < label_scale < inf.
    """

    t_max: float = 4096.0 / 4097.0
    label_scale: float = 1000.0
    name = "flow"
    preferred_grid = "uniform_t"
    t_zero, t_end = 0.0, 1e-3

    def __post_init__(self) -> None:
        t_max, label_scale = real(self.t_max, "t_max"), real(self.label_scale, "label_scale")
        if not (self.t_end < t_max < 1.0 and 0.0 < label_scale < np.inf):
            fix = "choose 0.001 < t_max < 1 and 0 < label_scale < inf"
            raise ValueError(f"t_max={t_max!r}, label_scale={label_scale!r}: {fix}")
        vars(self).update(t_max=t_max, label_scale=label_scale)

    def label(self, t: ArrayLike) -> Array:
        return self.label_scale * self._inside(t)

    def log_alpha(self, t: ArrayLike) -> Array:
        return np.log1p(-self._inside(t))

    def alpha(self, t: ArrayLike) -> Array:
        return 1.0 - self._inside(t)

    def sigma(self, t: ArrayLike) -> Array:
        return np.positive(self._inside(t))

    def gamma(self, t: ArrayLike) -> Array:
        return self.gamma_change(self.t_zero, t)

    def gamma_change(self, t: ArrayLike, t_next: ArrayLike) -> Array:
        t, t_next = self._inside(t), self._inside(t_next)
        return (t_next - t) / ((1.0 - t) * (1.0 - t_next))

    def drift(self, t: ArrayLike) -> Array:
        return -1.0 / (1.0 - self._inside(t))

    def diffusion_squared(self, t: ArrayLike) -> Array:
        return 2.0 * self.gamma(t)

    def _time_of_gamma(self, gamma: Array) -> Array:
        return gamma / (1.0 + gamma)
