"""alpha^2 + sigma^2 = 1, with beta(t) linear and with alpha-bar a squared cosine."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .._arguments import boolean, real
from .base import Array
from .decay import Decaying, LinearBeta

__all__ = ["VPCosine", "VPLinear", "VariancePreserving"]


class VariancePreserving(Decaying):
    """gamma^2 = expm1(B), G^2 = beta; B, gamma and beta may be infinite at t_max."""

    def sigma(self, t: ArrayLike) -> Array:
        alpha, gamma = self.alpha(t), self.gamma(t)
        return np.where(np.isinf(gamma), 1.0, alpha * np.where(np.isinf(gamma), 0.0, gamma))[()]

    def gamma(self, t: ArrayLike) -> Array:
        return np.sqrt(np.expm1(self._decay(self._inside(t))))

    def gamma_change(self, t: ArrayLike, t_next: ArrayLike) -> Array:
        t, t_next = self._inside(t), self._inside(t_next)
        decay = self._decay(t)
        gamma, gamma_next = np.sqrt(np.expm1(decay)), np.sqrt(np.expm1(self._decay(t_next)))
        total = gamma + gamma_next
        with np.errstate(invalid="ignore"):  # of infinities, whose change is the difference
            change_of_square = np.exp(decay) * np.expm1(self._decay_change(t, t_next))
            infinite = gamma_next - gamma
            finite = change_of_square / np.where(total > 0.0, total, 1.0)
        return np.where(np.isinf(total), infinite, finite)[()]

    def diffusion_squared(self, t: ArrayLike) -> Array:
        return self._decay_rate(self._inside(t))

    def _time_of_gamma(self, gamma: Array) -> Array:
        return self._time_of_decay(np.log1p(gamma * gamma))


@dataclass(frozen=True)
class VPLinear(LinearBeta, VariancePreserving):
    """Variance preserving with beta(t) linear on t in [0, 1] (Song et al., arXiv 2011.13456).

    B(t) = beta_min t + (beta_max - beta_min) t^2 / 2; label 999 t. ValueError unless 0 < beta_min
    <= beta_max and beta_min + beta_max <= 1400.
    """

    name = "vp_linear"


@dataclass(frozen=True)
class VPCosine(VariancePreserving):
    """Variance preserving, alpha-bar = cos^2(u) / cos^2(u(0)), u = pi/2 (t + s) / (1 + s) (arXiv 2102.09672).

    ``normalized=False`` leaves the denominator out, as DEIS does (arXiv 2204.13902): gamma = tan(u) and t_zero = -s.
    Label 999 t, and 0 where t < 0. ``t_max`` is that of DPM-Solver (arXiv 2206.00927): beta diverges at t = 1.
    ValueError unless 0 <= s <= 1 and 0.001 < t_max < 1.
    """

    s: float = 0.008
    t_max: float = 0.9946
    normalized: bool = True
    name = "vp_cosine"
    t_end = 1e-3

    def __post_init__(self) -> None:
        s, t_max = real(self.s, "s"), real(self.t_max, "t_max")
        normalized = boolean(self.normalized, "normalized")
        if not (0.0 <= s <= 1.0 and self.t_end < t_max < 1.0):
            raise ValueError(f"s={s!r}, t_max={t_max!r}: choose 0 <= s <= 1 and 0.001 < t_max < 1")
        vars(self).update(s=s, t_max=t_max, normalized=normalized, t_zero=0.0 if normalized else 0.0 - s)

    def label(self, t: ArrayLike) -> Array:
        return 999.0 * np.maximum(self._inside(t), 0.0)

    @property
    def _angular_speed(self) -> float:
        """du/dt; u = speed (t + s) and, what keeps the digits of cos u, pi/2 - u = speed (1 - t)."""
        return 0.5 * math.pi / (1.0 + self.s)

    def _decay(self, t: Array) -> Array:
        return self._decay_change(np.asarray(self.t_zero), t)

    def _decay_change(self, t: Array, t_next: Array) -> Array:
        low, high, speed = np.minimum(t, t_next), np.maximum(t, t_next), self._angular_speed
        half_turn_minus_sum = (1.0 - low) + (1.0 - high)  # sin(low + high) from the smaller of two equal sines
        sine_of_sum = np.sin(speed * np.minimum((low + self.s) + (high + self.s), half_turn_minus_sum))
        change_of_cosine_squared = np.sin(speed * (high - low)) * sine_of_sum
        return np.sign(t_next - t) * np.log1p(change_of_cosine_squared / np.sin(speed * (1.0 - high)) ** 2)

    def _decay_rate(self, t: Array) -> Array:
        speed = self._angular_speed
        return 2.0 * speed * np.sin(speed * (t + self.s)) / np.sin(speed * (1.0 - t))

    def _time_of_decay(self, decay: Array) -> Array:
        """u - u(t_zero) from the difference of their tangents, which does not cancel."""
        at_zero = self._angular_speed * (self.t_zero + self.s)
        tan_at_zero = math.tan(at_zero)
        leg = np.sqrt(np.expm1(decay)) / math.cos(at_zero)
        tan = np.hypot(leg, tan_at_zero)
        total = tan + tan_at_zero
        difference = leg * (leg / np.where(total > 0.0, total, 1.0))
        return self.t_zero + np.arctan2(difference, 1.0 + tan * tan_at_zero) / self._angular_speed
