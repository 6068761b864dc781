"""Time grids: float64 arrays of steps + 1 strictly falling times, both ends exact.

A grid samples as it stands and encodes reversed (``grid[::-1]``). ``t_start`` defaults to the
schedule's ``t_max``, ``t_end`` to its ``t_end``. With u = i / steps; power_t as in DEIS
(Zhang and Chen, arXiv 2204.13902), power_gamma as in EDM (Karras et al., arXiv 2206.00364, eq. 5).
The grids of whole indices of a table are in :data:`DISCRETE_GRIDS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..schedules import Schedule
from .continuous import power_gamma, power_t, quadratic_t, shifted_t, uniform_half_log_snr, uniform_t
from .discrete import ddim_quadratic, discrete_leading, discrete_linspace, discrete_trailing
from .times import given, subdivided, with_zero

__all__ = [
    "DISCRETE_GRIDS",
    "GRIDS",
    "DiscreteGridFunction",
    "GridFunction",
    "ddim_quadratic",
    "discrete_leading",
    "discrete_linspace",
    "discrete_trailing",
    "given",
    "power_gamma",
    "power_t",
    "quadratic_t",
    "shifted_t",
    "subdivided",
    "uniform_half_log_snr",
    "uniform_t",
    "with_zero",
]

Array = NDArray[np.float64]


class GridFunction(Protocol):
    """What every entry of :data:`GRIDS` is."""

    def __call__(
        self,
        schedule: Schedule,
        steps: int,
        *,
        t_start: float | None = None,
        t_end: float | None = None,
    ) -> Array: ...


GRIDS: Mapping[str, GridFunction] = MappingProxyType(
    {
        "uniform_t": uniform_t,
        "quadratic_t": quadratic_t,
        "shifted_t": shifted_t,
        "karras": power_gamma,
        "log_snr": uniform_half_log_snr,
    }
)
"""The grids of any schedule by the name that the command line and recipes use; read-only."""


class DiscreteGridFunction(Protocol):
    """What every entry of :data:`DISCRETE_GRIDS` is."""

    def __call__(self, schedule: Schedule, steps: int) -> Array: ...


DISCRETE_GRIDS: Mapping[str, DiscreteGridFunction] = MappingProxyType(
    {
        "linspace": discrete_linspace,
        "leading": discrete_leading,
        "trailing": discrete_trailing,
        "ddim_quadratic": ddim_quadratic,
    }
)
"""The grids of a checkpoint's table alone: ``steps`` evaluations, then t_zero; read-only."""
