"""Coloured noise fitted to a network: as much of the gains in closed form as its own samples turn out to need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._arguments import reals
from ..plan import Plan, filtered
from ..run import AnyModel, sample
from .gains import NoiseGains, gains_from_spectrum
from .gaussian import checked_spectrum
from .operators import operators
from .radial import over_rings
from .spectrum import power_spectrum

__all__ = ["STRENGTHS", "fitted_gains", "strengths_that_reach"]

Array = NDArray[np.float64]

STRENGTHS = (0.0, 0.05, 0.15, 0.5)


def fitted_gains(
    model: AnyModel,
    plan: Plan,
    spectrum: ArrayLike,
    *,
    shape: Sequence[int],
    strengths: Sequence[float] = STRENGTHS,
    labels: ArrayLike | None = None,
    transform: str = "dct",
    seed: int = 1,
    cond: Mapping[str, object] | None = None,
    shared: Mapping[str, object] | None = None,
    batch_size: int | None = None,
) -> NoiseGains:
    """The gains of :func:`.gains_from_spectrum`, each frequency shrunk until samples of ``model`` have the spectrum.

    g^2 -> 1 + s(f) (g^2 - 1): samples are made at each of ``strengths`` (rising, in 0..1) for all frequencies, and s(f)
    is where their power, linear in between and over rings of equal radius, first meets that of ``spectrum``; where it
    never does, the strength that came nearest. spectrum: [C, H, W] of the data (:func:`.power_spectrum`). shape:
    [B, C, H, W] of the samples at each strength, of the same noise. labels: [B], their classes, about whose means the
    power then is, as that of ``spectrum`` should be; the rest as for ``sample``. ValueError naming the argument.
    """
    target = checked_spectrum(spectrum)
    tried = reals(strengths, "strengths")
    rises = tried.ndim == 1 and len(tried) > 1 and bool(np.all(np.diff(tried) > 0.0))
    if not (rises and tried[0] >= 0.0 and tried[-1] <= 1.0):
        raise ValueError(f"strengths={strengths}; give two or more rising numbers in 0..1, 0 is white noise")
    if target.shape != tuple(shape[1:]):
        raise ValueError(f"spectrum has shape {target.shape}; need {tuple(shape[1:])}, of one sample of shape {shape}")
    gains = gains_from_spectrum(plan, target, transform=transform)
    coloured = filtered(plan, "filter", start=False, by_draw=True)
    powers: list[Array] = []
    for strength in tried.tolist():
        made = sample(
            model, coloured, shape=shape, seed=seed, cond=cond, shared=shared, batch_size=batch_size, progress=False,
            operators=operators(gains.shrunk(strength)),
        )  # fmt: skip
        spectral = power_spectrum(made.double().cpu().numpy(), transform=transform, labels=labels)
        powers.append(over_rings(spectral, transform=transform)[0])
    of_target, ring = over_rings(target, transform=transform)
    return gains.shrunk(strengths_that_reach(tried, np.stack(powers), of_target)[..., ring])


def strengths_that_reach(strengths: Array, powers: Array, target: Array) -> Array:
    """[...]: where ``powers`` [n, ...], linear between rising ``strengths`` [n], first meets ``target`` [...].

    Where it never does, that of the strengths whose power is nearest.
    """
    off = powers - target
    found = strengths[np.abs(off).argmin(axis=0)]
    for n in reversed(range(len(strengths) - 1)):
        meets = off[n] * off[n + 1] <= 0.0
        rise = np.where(off[n] == off[n + 1], 1.0, off[n + 1] - off[n])
        found = np.where(meets, strengths[n] - off[n] / rise * (strengths[n + 1] - strengths[n]), found)
    return found
