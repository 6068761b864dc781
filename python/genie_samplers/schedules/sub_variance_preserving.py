"""Less noise than variance preserving at the same alpha."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .base import Array
from .decay import LinearBeta

__all__ = ["SubVP"]


@dataclass(frozen=True)
class SubVP(LinearBeta):
    """alpha = exp(-B/2), sigma = 1 - exp(-B), B that of ``vp_linear`` (Song et al., arXiv 2011.13456).

    So gamma = 2 sinh(B/2) and G^2 = beta (1 - exp(-2B)). sigma is the standard deviation: the paper's variance is its
    square. Label 999 t. ValueError unless 0 < beta_min <= beta_max and beta_min + beta_max <= 1400.
    """

    name = "sub_vp"

    def gamma(self, t: ArrayLike) -> Array:
        return 2.0 * np.sinh(0.5 * self._decay(self._inside(t)))

    def sigma(self, t: ArrayLike) -> Array:
        return -np.expm1(-self._decay(self._inside(t)))

    def gamma_change(self, t: ArrayLike, t_next: ArrayLike) -> Array:
        t, t_next = self._inside(t), self._inside(t_next)
        mean = 0.25 * (self._decay(t) + self._decay(t_next))
        return 4.0 * np.cosh(mean) * np.sinh(0.25 * self._decay_change(t, t_next))

    def diffusion_squared(self, t: ArrayLike) -> Array:
        t = self._inside(t)
        return -self._decay_rate(t) * np.expm1(-2.0 * self._decay(t))

    def _time_of_gamma(self, gamma: Array) -> Array:
        return self._time_of_decay(2.0 * np.arcsinh(0.5 * gamma))
