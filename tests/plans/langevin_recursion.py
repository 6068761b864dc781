"""The exact law of predictor-corrector samplers on Gaussian data, one variance per mode (spec: Gaussian recursions).

The score of a mode of variance v at noise sigma is -x / (v + sigma^2): every row is linear and a mode has a variance.
``q`` multiplies the score (1, or m^2 where the drift is preconditioned), ``noise`` is the filter of the noise.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["SIZE", "Law", "geometric", "pds_mask", "radial", "radius", "spectrum", "variances", "zones"]

Array = NDArray[np.float64]
SIZE, SNR = 32, 0.16


class Law(NamedTuple):
    """last: of x_mean of the last prediction. steps: the corrector's e of each step, from expected norms."""

    last: Array
    steps: list[float]


def geometric(count: int, low: float = 0.01, high: float = 50.0) -> Array:
    """Noise levels falling to sigma_min, then 0."""
    return np.append(np.exp(np.linspace(np.log(high), np.log(low), count)), 0.0)


def variances(sigmas: Array, v: Array, noise: Array, q: Array, *, ald: bool = False, snr: float = SNR) -> Law:
    """Corrector, then reverse-diffusion predictor, at each level; both filtered."""
    law, mean, steps = noise**2 * sigmas[0] ** 2, noise, list[float]()
    for sigma, following in itertools.pairwise(sigmas.tolist()):
        u = v + sigma**2
        e = 2.0 * snr**2 * (sigma**2 if ald else np.sum(noise**2) / np.sum(q**2 * law / u**2))
        steps.append(float(e))
        law = (1.0 - e * q / u) ** 2 * law + 2.0 * e * noise**2
        a = sigma**2 - following**2
        mean = (1.0 - q * a / u) ** 2 * law
        law = mean + noise**2 * a
    return Law(mean, steps)


def radius(size: int = SIZE) -> Array:
    """Of the un-shifted DFT, normalised to 0.5 at the Nyquist corner, [size, size]."""
    f = np.minimum(np.arange(size), size - np.arange(size)) / size
    return np.sqrt((f[:, None] ** 2 + f[None, :] ** 2) / 2.0)


def spectrum(size: int = SIZE) -> Array:
    """Variance falling as 1 / radius^2, of mean 0.25^2."""
    v = 1.0 / np.maximum(radius(size), 1.0 / (size * np.sqrt(2.0))) ** 2
    return v * (0.0625 / v.mean())


def radial(first: float, second: float) -> Array:
    """The published two-zone filter."""
    r = radius()
    return np.where(r <= 0.4, 1.0, np.where(r <= 0.455, first, second))


def pds_mask() -> Array:
    """Of the spectrum, as PDS has released it (alpha = 5)."""
    p = np.log1p(SIZE**2 * spectrum())
    return 5.0 / (p / p.max() + 4.0)


def zones(values: Array) -> list[float]:
    """Means over five zones of the radius."""
    r = radius()
    inside = (r < 0.1, (r >= 0.1) & (r < 0.25), (r >= 0.25) & (r <= 0.4), (r > 0.4) & (r <= 0.455), r > 0.455)
    return [float(values[zone].mean()) for zone in inside]
