"""One noise temperature for a plan: the one whose samples look most like the data."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .._arguments import reals
from ..plan import Plan
from ..run import AnyModel, sample
from ..solvers import tempered
from ..tdas.radial import over_rings
from ..tdas.spectrum import power_spectrum
from .frechet import frechet_distance

__all__ = ["CalibratedTemperature", "spectral_divergence", "temperature"]

Array = NDArray[np.float64]
Features = Callable[[Tensor], Tensor]
Report = Callable[[str], None]

_TRIED = (1.0, 1.03, 1.06, 1.1, 1.15)
_MOST = 12  # temperatures in all
_LEAST, _LEAST_DATA = 20, 20


@dataclass(frozen=True)
class CalibratedTemperature:
    """plan: the plan at the best temperature; distance: its distance to the data; tried: temperature -> distance.

    at_border: whether the best is the least or the largest that was tried, so that a better one may lie beyond.
    """

    plan: Plan
    temperature: float
    distance: float
    tried: Mapping[float, float]
    at_border: bool


def temperature(
    model: AnyModel,
    plan: Plan,
    images: Tensor,
    *,
    count: int = 200,
    labels: Tensor | None = None,
    features: Features | None = None,
    temperatures: Sequence[float] = _TRIED,
    seed: int = 1,
    cond: Mapping[str, object] | None = None,
    shared: Mapping[str, object] | None = None,
    batch_size: int | None = None,
    report: Report = lambda line: None,
) -> CalibratedTemperature:
    """Measure which factor of all its noise makes the samples of a stochastic plan most like the data.

    images: [N, C, H, W] of the data. count: samples at every temperature, of the same noise, so that differences
    between temperatures are far less noisy than the distances. Without ``features`` the distance is
    :func:`spectral_divergence` of the power spectra, with ``labels`` [N] about the mean of each class, which of the
    samples cond["class_labels"] [count] says: it sees contrast and grain, and needs no other network. features: images
    [n, C, H, W] to [n, F], of which the Frechet distance is taken; count and N should be several times F.
    temperatures: tried first, and then, at most 12 in all, beyond their end while it is the best, and where a parabola
    through the best three has its least. The rest as for ``sample``. report: told of each, one line.

    ValueError or TypeError naming the argument; fewer than 20 images or samples are refused. Warns where the
    search ends at its border.
    """
    _check(plan, images, count)
    distance = _Distance.of(images, labels, features, None if cond is None else cond.get("class_labels"))
    tried: dict[float, float] = {}

    def measure(at: float) -> None:
        if at in tried or len(tried) >= _MOST:
            return
        made = sample(
            model, tempered(plan, at), shape=(count, *images.shape[1:]), seed=seed, cond=cond, shared=shared,
            batch_size=batch_size, progress=False,
        )  # fmt: skip
        tried[at] = distance(made)
        report(f"temperature {at:.4f}: {tried[at]:.5g}")

    for at in _checked(temperatures):
        measure(at)
    while len(tried) < _MOST and (beyond := _beyond(tried)) is not None:
        measure(beyond)
    if (vertex := _vertex(tried)) is not None:
        measure(vertex)
    best = min(tried, key=tried.__getitem__)
    at_border = best in (min(tried), max(tried))
    if at_border:
        warnings.warn(
            f"temperature: the best of {len(tried)}, {best:g}, is at the border of {min(tried):g}..{max(tried):g}; a "
            "better one may lie beyond: check the plan and the images, and give temperatures= further apart or out",
            stacklevel=2,
        )
    return CalibratedTemperature(tempered(plan, best), best, tried[best], tried, at_border)


def spectral_divergence(made: Array, data: Array) -> float:
    """KL(N(0, made) | N(0, data)) per frequency, of two power spectra [C, H, W] of the DCT: 0 where they are equal.

    The mean over frequencies of (r - 1 - log r) / 2, with r the ratio of their powers in each of 24 rings of equal
    radius: so that the noise of a few samples averages out, and a fine grain counts as much as the large shapes.
    """
    (of_made, ring), (of_data, _) = (over_rings(power.mean(axis=0)) for power in (made, data))
    for name, power in (("made", of_made), ("data", of_data)):
        if not power.min() > 0.0:
            raise ValueError(f"{name}: no power at some frequencies, as of constant pictures; give natural ones")
    ratio = of_made / of_data
    return float(np.average(0.5 * (ratio - 1.0 - np.log(ratio)), weights=np.bincount(ring.ravel())))


@dataclass(frozen=True)
class _Distance:
    """Of samples [count, C, H, W] to the data."""

    measure: Callable[[Tensor], float]

    @classmethod
    def of(cls, images: Tensor, labels: Tensor | None, features: Features | None, of_samples: object) -> _Distance:
        if features is not None:
            known = _array(features(images))
            return cls(lambda made: frechet_distance(_array(features(made)), known))
        if labels is None:
            of_samples = None
        elif of_samples is None:
            raise ValueError(
                "labels: of the images alone; give cond['class_labels'] of the samples, too, or leave them"
            )
        data = power_spectrum(_array(images), labels=None if labels is None else _array(labels))
        classes = None if of_samples is None else reals(of_samples, "class_labels")  # type: ignore[arg-type]
        return cls(lambda made: spectral_divergence(power_spectrum(_array(made), labels=classes), data))

    def __call__(self, made: Tensor) -> float:
        return self.measure(made)


def _array(values: Tensor) -> Array:
    return values.detach().double().cpu().numpy()


def _beyond(tried: Mapping[float, float]) -> float | None:
    """A step beyond the largest or the least temperature, where that is the best."""
    rising = sorted(tried)
    best = min(tried, key=tried.__getitem__)
    if len(rising) > 1 and best == rising[-1]:
        return round(best + 1.5 * (rising[-1] - rising[-2]), 6)
    if len(rising) > 1 and best == rising[0]:
        below = round(best - (rising[1] - rising[0]), 6)
        return below if below > 0.0 else None
    return None


def _vertex(tried: Mapping[float, float]) -> float | None:
    """Of the parabola through the best temperature and its neighbours; None at an end."""
    rising = sorted(tried)
    place = rising.index(min(tried, key=tried.__getitem__))
    if not 0 < place < len(rising) - 1:
        return None
    t = np.array(rising[place - 1 : place + 2])
    a, b, _ = np.polyfit(t, [tried[float(at)] for at in t], 2)
    return round(float(-b / (2.0 * a)), 4) if a > 0.0 else None


def _checked(temperatures: Sequence[float]) -> list[float]:
    found = reals(temperatures, "temperatures")
    if found.ndim != 1 or len(found) < 2 or not (np.isfinite(found).all() and found.min() > 0.0):
        raise ValueError(f"temperatures={temperatures}; give two or more positive finite numbers")
    return sorted(set(found.tolist()))


def _check(plan: Plan, images: Tensor, count: int) -> None:
    if not isinstance(images, Tensor) or images.ndim != 4 or not images.is_floating_point():
        raise TypeError("images: need a float tensor [N, C, H, W] of the data")
    if len(images) < _LEAST_DATA or count < _LEAST:
        raise ValueError(f"images: {len(images)}, count: {count}; give {_LEAST} or more of both, hundreds to trust it")
    tempered(plan, 1.0)  # refuses a plan without noise
