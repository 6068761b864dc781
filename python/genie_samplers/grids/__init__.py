"""Time grids: float64 arrays of steps + 1 strictly falling times, both ends exact.

A grid samples as it stands and encodes reversed (``grid[::-1]``). ``t_start`` defaults to the
schedule's ``t_max``, ``t_end`` to its ``t_end``. With u = i / steps; power_t as in DEIS
(Zhang and Chen, arXiv 2204.13902), power_gamma as in EDM (Karras et al., arXiv 2206.00364, eq. 5).
The grids that schedulers of diffusers take by themselves, indices of a table or noise
levels of flow, are in :data:`DISCRETE_GRIDS`; docs/diffusers.md says which is whose.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..schedules import Schedule, flux2_mu, mu_of_length
from .beta_law import beta_gamma, beta_quantile
from .continuous import power_gamma, power_t, quadratic_t, shifted_t, uniform_half_log_snr, uniform_t
from .discrete import (
    ddim_quadratic,
    discrete_leading,
    discrete_linspace,
    discrete_trailing,
    dpm_leading,
    dpm_linspace,
    euler_linspace,
)
from .flow_sigmas import (
    RESPACINGS,
    SPACINGS,
    flow_grid,
    flow_sigmas,
    linear_quadratic,
    respaced,
    shifted,
    shifted_by_mu,
    stretched,
)
from .times import given, subdivided, with_zero

__all__ = [
    "DISCRETE_GRIDS",
    "FLOW_GRIDS",
    "GRIDS",
    "RESPACINGS",
    "SPACINGS",
    "TABLE_GRIDS",
    "DiscreteGridFunction",
    "GridFunction",
    "beta_gamma",
    "beta_quantile",
    "ddim_quadratic",
    "discrete_leading",
    "discrete_linspace",
    "discrete_trailing",
    "dpm_leading",
    "dpm_linspace",
    "euler_linspace",
    "flow_grid",
    "flow_sigmas",
    "flux2_mu",
    "given",
    "linear_quadratic",
    "mu_of_length",
    "power_gamma",
    "power_t",
    "quadratic_t",
    "respaced",
    "shifted",
    "shifted_by_mu",
    "shifted_t",
    "stretched",
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


TABLE_GRIDS: Mapping[str, DiscreteGridFunction] = MappingProxyType(
    {
        "linspace": discrete_linspace,
        "leading": discrete_leading,
        "trailing": discrete_trailing,
        "ddim_quadratic": ddim_quadratic,
        "dpm_linspace": dpm_linspace,
        "dpm_leading": dpm_leading,
        "euler_linspace": euler_linspace,
    }
)
"""The grids of a checkpoint's table alone; read-only."""

FLOW_GRIDS: Mapping[str, DiscreteGridFunction] = MappingProxyType(
    {
        "flow_match": partial(flow_grid, spacing="flow_match"),
        "flow_match_exact": partial(flow_grid, spacing="flow_match_exact"),
        "flow_multistep": partial(flow_grid, spacing="multistep"),
        "flow_unipc": partial(flow_grid, spacing="unipc"),
        "flow_linear_quadratic": partial(flow_grid, spacing="linear_quadratic"),
        "flow_karras": partial(flow_grid, spacing="flow_match", respacing="karras"),
        "flow_exponential": partial(flow_grid, spacing="flow_match", respacing="exponential"),
        "flow_beta": partial(flow_grid, spacing="flow_match", respacing="beta"),
    }
)
"""The grids of flow alone, with the schedule's shift; read-only."""

DISCRETE_GRIDS: Mapping[str, DiscreteGridFunction] = MappingProxyType({**TABLE_GRIDS, **FLOW_GRIDS, "beta": beta_gamma})
"""All grids of ``steps`` evaluations of which the last steps to t_zero; ``beta`` is for any finite gamma; read-only."""
