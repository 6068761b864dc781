"""The schedules and grids on which solvers are compared with the textbook."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from genie_samplers import grids, schedules
from genie_samplers.schedules import Schedule

from ..exact_weights import COARSE_TABLE

__all__ = ["GRIDS", "SCHEDULES", "STEPS", "GridOf", "before_zero"]

Array = NDArray[np.float64]
GridOf = Callable[[Schedule, int], Array]
STEPS = 6
SCHEDULES: dict[str, Schedule] = {
    "vp_linear": schedules.vp_linear(),
    "vp_cosine": schedules.vp_cosine(),
    "vp_cosine-unnormalized": schedules.vp_cosine(normalized=False),
    "sub_vp": schedules.sub_vp(),
    "ve": schedules.ve(),
    "edm": schedules.edm(),
    "flow": schedules.flow(t_max=4096.0 / 4097.0),
    "table-log_alpha": schedules.from_alphas_cumprod(COARSE_TABLE),
    "table-alpha_bar": schedules.from_alphas_cumprod(COARSE_TABLE, interpolation="alpha_bar"),
}


def to_zero(schedule: Schedule, steps: int) -> Array:
    """Karras, and a step to clean data, with which the grid of a flow schedule ends anyway."""
    if schedule.t_end == schedule.t_zero:
        return grids.power_gamma(schedule, steps)
    return grids.with_zero(schedule, grids.power_gamma(schedule, steps - 1))


def rising(schedule: Schedule, steps: int) -> Array:
    """Not from t_end: an x0 form that encodes loses sigma'/sigma of its digits to cancellation."""
    return grids.quadratic_t(schedule, steps, t_end=float(schedule.time_of_gamma(0.05)))[::-1]


GRIDS: dict[str, GridOf] = {**grids.GRIDS, "to_zero": to_zero, "rising": rising}


def before_zero(grid: str, schedule: Schedule) -> Array:
    """The grid of ``STEPS`` steps, that of a flow schedule without its last one, to clean data."""
    times = GRIDS[grid](schedule, STEPS)
    return times if times[-1] != schedule.t_zero else GRIDS[grid](schedule, STEPS + 1)[:-1]
