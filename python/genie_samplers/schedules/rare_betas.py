"""The tables of beta that few checkpoints were trained with."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .._arguments import integer, real
from .base import Array

__all__ = ["exponential_betas", "laplace_betas", "sigmoid_betas"]

_CAP = 0.999


def sigmoid_betas(steps: int = 1000, *, beta_start: float = 1e-4, beta_end: float = 0.02) -> Array:
    """beta_start + (beta_end - beta_start) / (1 + e^-u), u from -6 to 6, float64: GeoDiff (arXiv 2203.02923).

    diffusers calls it sigmoid. ValueError unless 0 < both ends < 1.
    """
    start, end = real(beta_start, "beta_start"), real(beta_end, "beta_end")
    if not (0.0 < start < 1.0 and 0.0 < end < 1.0):
        raise ValueError(f"beta_start={start!r}, beta_end={end!r}: choose both inside (0, 1)")
    return start + (end - start) / (1.0 + np.exp(-np.linspace(-6.0, 6.0, integer(steps, "steps", least=2))))


def laplace_betas(steps: int = 1000) -> Array:
    """alpha-bar = sqrt(r / (1 + r)), log r half the Laplace quantile of 1 - i / steps; float64, as diffusers has it."""

    def alpha_bar(u: Array) -> Array:
        half_log = -0.5 * np.copysign(1.0, 0.5 - u) * np.log(1.0 - 2.0 * np.abs(0.5 - u) + 1e-6)
        return np.sqrt(1.0 / (1.0 + np.exp(-half_log)))

    return _from_alpha_bar(alpha_bar, steps)


def exponential_betas(steps: int = 1000) -> Array:
    """alpha-bar = e^(-12 i / steps), so every beta is the same; float64. diffusers calls it exp."""
    return np.full(integer(steps, "steps", least=2), min(-math.expm1(-12.0 / steps), _CAP))


def _from_alpha_bar(alpha_bar: Callable[[Array], Array], steps: int) -> Array:
    at = alpha_bar(np.arange(integer(steps, "steps", least=2) + 1) / steps)
    return np.minimum(1.0 - at[1:] / at[:-1], _CAP)
