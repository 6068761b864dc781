"""Data whose network and probability flow are known in closed form: what defaults are computed on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..schedules import Schedule

__all__ = [
    "IMAGES",
    "MIXTURES",
    "Answer",
    "Marginal",
    "Mixtures",
    "Spectrum",
    "mixtures",
    "power_law",
    "prediction_of",
]

Array = NDArray[np.float64]

_BISECTIONS = 50
_REACH = 12.0  # standard deviations of data of size 1 within which the flow is looked for


class Marginal(NamedTuple):
    """alpha and sigma at a time: x = alpha x_0 + sigma epsilon."""

    alpha: float
    sigma: float

    @classmethod
    def at(cls, schedule: Schedule, t: float) -> Marginal:
        return cls(float(schedule.alpha(t)), float(schedule.sigma(t)))


class Answer(NamedTuple):
    """What the exact network knows of a state."""

    epsilon: Array
    x0: Array


def prediction_of(prediction: str, at: Marginal, answer: Answer) -> Array:
    """The network's output in terms of its prediction type."""
    epsilon, x0 = answer
    return {
        "epsilon": lambda: epsilon,
        "x0": lambda: x0,
        "v": lambda: at.alpha * epsilon - at.sigma * x0,
        "score": lambda: -epsilon / at.sigma,
        "flow": lambda: epsilon - x0,
    }[prediction]()


@dataclass(frozen=True)
class Spectrum:
    """Gaussian data of independent modes: the variance of each, its share of all elements, and one mean."""

    variances: tuple[float, ...]
    shares: tuple[float, ...]
    mean: float = 0.3


def power_law(power: float, variance: float, frequencies: int = 24) -> Spectrum:
    """Variances as (1 + f)^-power of f = 0, 1, .., each frequency with as many modes as lie on its ring in the plane.

    variance: of an element, the mean over all modes; so the lowest, the brightness of whole pictures, has far more.
    """
    f = np.arange(frequencies)
    shares = (2.0 * f + 1.0) / frequencies**2
    shape = (1.0 + f) ** -power
    return Spectrum(tuple((variance / (shares @ shape) * shape).tolist()), tuple(shares.tolist()))


@dataclass(frozen=True)
class Mixtures:
    """One scalar mixture of Gaussians, of data of several sizes: the n latents that are followed stand for each.

    sizes: factors of means and deviations; shares: what each size counts for.
    """

    weights: tuple[float, ...]
    means: tuple[float, ...]
    deviations: tuple[float, ...]
    sizes: tuple[float, ...]
    shares: tuple[float, ...]
    latents: tuple[float, ...]

    @property
    def start(self) -> Array:
        """[sizes, n]."""
        return np.tile(self.latents, (len(self.sizes), 1))

    def answer(self, at: Marginal, x: Array) -> Answer:
        """The exact network at states [sizes, n]."""
        mean, variance_0, w = self._components()
        variance = at.alpha**2 * variance_0 + at.sigma**2
        away = x[..., None] - at.alpha * mean
        log_density = np.log(w) - 0.5 * np.log(variance) - 0.5 * away**2 / variance
        share = np.exp(log_density - log_density.max(axis=-1, keepdims=True))
        share /= share.sum(axis=-1, keepdims=True)
        epsilon = at.sigma * (share * away / variance).sum(axis=-1)
        return Answer(epsilon, (share * (mean + at.alpha * variance_0 / variance * away)).sum(axis=-1))

    def flow(self, start: Marginal, end: Marginal, x: Array) -> Array:
        """Where the probability flow takes states from ``start`` to ``end``: it keeps the probability below them."""
        aim = self._below(start, x)
        reach = _REACH * np.maximum(1.0, np.array(self.sizes))[:, None]
        low, high = np.broadcast_to(-reach, x.shape), np.broadcast_to(reach, x.shape)
        for _ in range(_BISECTIONS):
            middle = 0.5 * (low + high)
            too_low = self._below(end, middle) < aim
            low, high = np.where(too_low, middle, low), np.where(too_low, high, middle)
        return 0.5 * (low + high)

    def _below(self, at: Marginal, x: Array) -> Array:
        mean, variance_0, w = self._components()
        spread = np.sqrt(at.alpha**2 * variance_0 + at.sigma**2)
        return (w * _normal_below((x[..., None] - at.alpha * mean) / spread)).sum(axis=-1)

    def _components(self) -> tuple[Array, Array, Array]:
        """Means and variances [sizes, 1, components], weights [components]."""
        size = np.array(self.sizes)[:, None, None]
        return size * np.array(self.means), (size * np.array(self.deviations)) ** 2, np.array(self.weights)


_erf = np.frompyfunc(math.erf, 1, 1)


def _normal_below(z: Array) -> Array:
    return 0.5 + 0.5 * np.asarray(_erf(z / math.sqrt(2.0)), dtype=np.float64)


_OCTAVES = ((0, 1), (1, 3), (3, 7), (7, 14), (14, 24))  # of frequencies
QUANTILES = (-1.73, -1.15, -0.81, -0.55, -0.32, -0.1, 0.1, 0.32, 0.55, 0.81, 1.15, 1.73)


def mixtures(
    weights: tuple[float, ...],
    means: tuple[float, ...],
    deviations: tuple[float, ...],
    like: Spectrum,
    latents: tuple[float, ...] = QUANTILES,
) -> Mixtures:
    """This mixture, scaled to the variance of each octave of a spectrum."""
    w, mean, deviation = (np.array(each) for each in (weights, means, deviations))
    own = float(np.sqrt(w @ (deviation**2 + mean**2) - (w @ mean) ** 2))
    v, n = np.array(like.variances), np.array(like.shares)
    shares = [float(n[first:end].sum()) for first, end in _OCTAVES]
    powers = [float(n[first:end] @ v[first:end]) for first, end in _OCTAVES]
    sizes = [math.sqrt(power / share) / own for power, share in zip(powers, shares, strict=True)]
    return Mixtures(weights, means, deviations, tuple(sizes), tuple(shares), latents)


IMAGES = power_law(3.0, variance=0.25)
"""As photographs in [-1, 1] have it: of CIFAR-10 the power is 3.2 and the variance 0.25."""

MIXTURES = mixtures((0.6, 0.4), (-0.6, 0.9), (0.15, 0.3), like=IMAGES)
"""Two modes that lie apart, as large as whole pictures and as small as details."""
