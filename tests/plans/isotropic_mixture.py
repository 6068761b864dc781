"""Isotropic Gaussian mixtures in any dimension, in the coordinates (v, gamma) of dv/dgamma = epsilon, v = x / alpha.

GENIE (Dockhorn et al., arXiv 2210.05475) on such data: ``THREE`` modes that overlap, and ``TOY64`` narrow ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .series import Series, derivatives_along_flow

Array = NDArray[np.float64]

__all__ = ["THREE", "TOY64", "IsotropicMixture"]


@dataclass(frozen=True, eq=False)
class IsotropicMixture:
    """sum_i weights[i] N(means[i], variances[i] I): [n], [n, d], [n]."""

    weights: Array
    means: Array
    variances: Array

    def derivatives(self, v: Array, gamma: float, count: int) -> list[Array]:
        """epsilon, d epsilon / d gamma, .. along the flow at points [..., d]: ``count`` arrays of their shape."""
        return derivatives_along_flow(self._epsilon, v, gamma, count)

    def _epsilon(self, v: Series, gamma: Series) -> Series:
        dimension = self.means.shape[-1]
        variance = gamma * gamma + self.variances  # [n]
        away = v.map(lambda c: c[..., None, :]) + Series([-self.means, *[0.0] * (len(v.coefficients) - 1)])
        squared = (away * away).map(lambda c: c.sum(-1))  # [..., n]
        log_share = -0.5 * (dimension * variance.log() + squared / variance) + np.log(self.weights)
        share = (log_share + -log_share.coefficients[0].max(-1, keepdims=True)).exp()
        total = share.map(lambda c: c.sum(-1, keepdims=True))
        pull = (share / total / variance).map(lambda c: c[..., None]) * away
        return gamma * pull.map(lambda c: c.sum(-2))

    def epsilon(self, v: Array, gamma: float) -> Array:
        """[..., d]"""
        _, share, a = self._shares(v, gamma)
        return -gamma * np.einsum("...n,...nd->...d", share, a)

    def divergence(self, v: Array, gamma: float) -> Array:
        """Of epsilon, [...]: -gamma (sum_i r_i (|a_i|^2 - d/v_i) - |S|^2),  S = sum_i r_i a_i."""
        variance, share, a = self._shares(v, gamma)
        pull = np.einsum("...n,...nd->...d", share, a)
        spread = (a**2).sum(-1) - self.means.shape[-1] / variance
        return -gamma * ((share * spread).sum(-1) - (pull**2).sum(-1))

    def _shares(self, v: Array, gamma: float) -> tuple[Array, Array, Array]:
        """v_i = variances_i + gamma^2, the posterior shares r_i, and a_i = (means_i - v) / v_i."""
        variance = self.variances + gamma**2
        a = (self.means - v[..., None, :]) / variance[:, None]
        dimension = self.means.shape[-1]
        log_share = np.log(self.weights) - 0.5 * (dimension * np.log(variance) + variance * (a**2).sum(-1))
        share = np.exp(log_share - log_share.max(-1, keepdims=True))
        return variance, share / share.sum(-1, keepdims=True), a

    def flow(self, v: Array, gamma: float, gamma_end: float, steps: int) -> Array:
        """The classical Runge-Kutta method in log gamma."""
        levels = np.geomspace(gamma, gamma_end, 2 * steps + 1)
        width = np.log(gamma_end / gamma) / steps

        def slope(x: Array, level: float) -> Array:
            return width * level * self.epsilon(x, level)

        for now, middle, after in zip(levels[:-1:2], levels[1::2], levels[2::2], strict=True):
            k1 = slope(v, now)
            k2 = slope(v + 0.5 * k1, middle)
            k3 = slope(v + 0.5 * k2, middle)
            v = v + (k1 + 2.0 * k2 + 2.0 * k3 + slope(v + k3, after)) / 6.0
        return v


def _toy64() -> IsotropicMixture:
    """Eight rings of eight narrow modes."""
    ring = np.exp(0.25j * np.pi * np.arange(8))
    centres = (0.9 * ring[:, None] + 0.9 * 0.2 * ring[None, :]).ravel()
    return IsotropicMixture(np.full(64, 1 / 64), np.stack([centres.real, centres.imag], 1), np.full(64, 1e-4))


THREE = IsotropicMixture(
    np.array([0.2, 0.5, 0.3]), np.array([[1.0, 0.3], [-0.8, 0.5], [0.1, -1.0]]), np.array([0.05, 0.02, 0.1])
)
TOY64 = _toy64()
