"""A jump along the exact probability flow of Gaussian data: the first, noisy part of a run as one filter."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .._arguments import real
from ..schedules import Schedule, check_schedule
from ..solvers.exact_data import Marginal
from .gaussian import checked_spectrum
from .spec import FilterSpec

__all__ = ["teleport"]


def teleport(
    spectrum: ArrayLike, schedule: Schedule, t: float, *, start: float | None = None, transform: str = "dct"
) -> FilterSpec:
    """The filter from the state at ``start`` (t_max by default) to that at ``t``, without an evaluation.

        x' - alpha' m = T^-1[ sqrt((alpha'^2 v + sigma'^2) / (alpha^2 v + sigma^2)) . T[x - alpha m] ]

    spectrum: v, the variance of each frequency, [H, W] or [C, H, W] (:func:`.power_spectrum`); m: the mean image, for
    the caller to take off and to add. Exact for Gaussian data of this spectrum; for others where sigma' is still well
    above their deviation. At the start of a run alpha m is next to nothing. Of a run from ``t`` it replaces the initial
    noise: a plan whose grid begins at ``t`` is given x' as its ``state``. ValueError where a frequency is left without
    variance, which only a spectrum with zeros at sigma' = 0 is.
    """
    check_schedule(schedule)
    variances = checked_spectrum(spectrum)
    at, end = (Marginal.at(schedule, real(when, "t")) for when in (schedule.t_max if start is None else start, t))
    before, after = (m.alpha**2 * variances + m.sigma**2 for m in (at, end))
    if before.min() <= 0.0 or after.min() <= 0.0:
        raise ValueError(f"spectrum: holds 0, and sigma = 0 at t={t}; end the jump before it")
    about = {"from": "teleport", "start": schedule.t_max if start is None else float(start), "t": float(t)}
    return FilterSpec(transform, np.sqrt(after / before), about=about)
