"""What the solver families share: converting the network's output, and naming their plans."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import grids, predictions
from ..plan import Conversion, Init, Past, Plan, Recipe, Step
from ..schedules import Schedule

__all__ = ["checked_grid", "conversion", "finish", "past_rows"]

_CONVERT = {"epsilon": predictions.to_epsilon, "x0": predictions.to_x0}


def checked_grid(schedule: Schedule, grid: ArrayLike) -> NDArray[np.float64]:
    """The grid as float64, at least two times, strictly monotone, within the schedule's range."""
    return grids.given(schedule, grid)


def conversion(schedule: Schedule, time: float, *, prediction: str, quantity: str) -> Conversion:
    """y = p*x + q*out with y the ``quantity`` ("epsilon" or "x0") that the solver integrates."""
    p, q = _CONVERT[quantity](prediction, schedule, time)
    return Conversion(float(p), (float(q),))


def past_rows(row: int, count: int) -> tuple[Past, ...]:
    """The first outputs of the ``count`` rows before ``row``, newest first."""
    return tuple(Past(row - k) for k in range(1, count + 1))


def finish(
    name: str,
    schedule: Schedule,
    grid: NDArray[np.float64],
    steps: Sequence[Step],
    *,
    prediction: str,
    quantity: str,
    options: dict[str, object],
) -> Plan:
    """The plan of these rows, started from noise of the schedule's scale at the grid's first time."""
    recipe = Recipe(name, schedule.to_dict(), tuple(map(float, grid)), {**options, "prediction": prediction})
    scale = float(schedule.sigma(grid[0]))
    return Plan(Init(scale), (prediction,), quantity, tuple(steps), recipe)
