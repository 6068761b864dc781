"""alpha = 1: gamma is sigma itself."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .._arguments import real
from .base import Array, Schedule

__all__ = ["EDM", "VE", "VarianceExploding"]


class VarianceExploding(Schedule):
    """alpha = 1, F = 0."""

    def log_alpha(self, t: ArrayLike) -> Array:
        return 0.0 * self._inside(t)

    def drift(self, t: ArrayLike) -> Array:
        return 0.0 * self._inside(t)


@dataclass(frozen=True)
class EDM(VarianceExploding):
    """alpha = 1, sigma = gamma = t on [0, gamma_max] (Karras et al., arXiv 2206.00364).

    Grids end at gamma_min; label t = sigma, what EDMPrecond and k-diffusion's denoisers take (they compute c_noise
    themselves). ValueError unless 0 < gamma_min < gamma_max < inf.
    """

    gamma_min: float = 0.002
    gamma_max: float = 80.0
    name = "edm"
    preferred_grid = "karras"
    t_zero = 0.0

    def __post_init__(self) -> None:
        low, high = real(self.gamma_min, "gamma_min"), real(self.gamma_max, "gamma_max")
        if not 0.0 < low < high < np.inf:
            fix = "choose 0 < gamma_min < gamma_max < inf"
            raise ValueError(f"gamma_min={low!r}, gamma_max={high!r}: {fix}")
        vars(self).update(gamma_min=low, gamma_max=high, t_end=low, t_max=high)

    def gamma(self, t: ArrayLike) -> Array:
        return np.positive(self._inside(t))

    def diffusion_squared(self, t: ArrayLike) -> Array:
        return 2.0 * self._inside(t)

    def _time_of_gamma(self, gamma: Array) -> Array:
        return gamma


@dataclass(frozen=True)
class VE(VarianceExploding):
    """alpha = 1, sigma(t) = sigma_min (sigma_max / sigma_min)^t on [0, 1] (Song et al., arXiv 2011.13456).

    That formula never reaches 0, so below t = 0 (a knot) its tangent continues it to t_zero = -1 / log(sigma_max /
    sigma_min), where sigma = 0: sigma and its derivative stay continuous, and a last step to clean data can be taken.
    Label sigma, and sigma_min where t < 0. ValueError unless 0 < sigma_min < sigma_max and their ratio is finite.
    """

    sigma_min: float = 0.01
    sigma_max: float = 50.0
    name = "ve"
    preferred_grid = "karras"
    t_max, t_end = 1.0, 1e-5
    knots = (0.0,)

    def __post_init__(self) -> None:
        low, high = real(self.sigma_min, "sigma_min"), real(self.sigma_max, "sigma_max")
        if not (0.0 < low < high and high / low < np.inf):
            fix = "choose 0 < sigma_min < sigma_max with a finite ratio"
            raise ValueError(f"sigma_min={low!r}, sigma_max={high!r}: {fix}")
        vars(self).update(sigma_min=low, sigma_max=high, t_zero=-1.0 / math.log1p((high - low) / low))

    def label(self, t: ArrayLike) -> Array:
        return np.maximum(self.gamma(t), self.sigma_min)

    def gamma(self, t: ArrayLike) -> Array:
        return self.gamma_change(self.t_zero, t)

    def gamma_change(self, t: ArrayLike, t_next: ArrayLike) -> Array:
        t, t_next = self._inside(t), self._inside(t_next)
        on_tangent = np.minimum(t_next, 0.0) - np.minimum(t, 0.0)
        above, above_next = np.maximum(t, 0.0), np.maximum(t_next, 0.0)
        growth = np.exp(above / -self.t_zero) * np.expm1((above_next - above) / -self.t_zero)
        return self.sigma_min * (on_tangent / -self.t_zero + growth)

    def diffusion_squared(self, t: ArrayLike) -> Array:
        t = self._inside(t)
        return 2.0 * self.gamma(t) * np.maximum(self.gamma(t), self.sigma_min) / -self.t_zero

    def _time_of_gamma(self, gamma: Array) -> Array:
        ratio = gamma / self.sigma_min
        return self.t_zero * (1.0 - np.minimum(ratio, 1.0)) - self.t_zero * np.log(np.maximum(ratio, 1.0))
