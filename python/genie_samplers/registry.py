"""The one table of solvers: name -> function, options, declared properties. CLI, docs, tests and benchmarks read it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import grids
from .schedules import Schedule

if TYPE_CHECKING:
    from .plan import Plan

__all__ = ["SOLVERS", "Solver", "find", "make_plan", "rebuild", "register"]


@dataclass(frozen=True)
class Solver:
    """A registered solver: ``build(schedule, grid, prediction=..., **options) -> Plan``.

    order: global order of convergence with an exact start. exact_on_point_mass: data of one point is sampled exactly at
    any number of steps. default_grid: name in ``grids.GRIDS``; ends_at_zero appends the time of gamma = 0 to it, where
    the last step costs one evaluation instead of ``evaluations_per_step``.
    """

    name: str
    build: Callable[..., Plan]
    order: int
    options: Mapping[str, object] = field(default_factory=dict)
    stochastic: bool = False
    exact_on_point_mass: bool = True
    default_grid: str = "karras"
    ends_at_zero: bool = False
    evaluations_per_step: int = 1
    summary: str = ""


SOLVERS: dict[str, Solver] = {}


def register(*solvers: Solver) -> None:
    for solver in solvers:
        if solver.name in SOLVERS:
            raise ValueError(f"solver {solver.name!r} is registered twice")
        SOLVERS[solver.name] = solver


def find(name: str) -> Solver:
    if name not in SOLVERS:
        raise ValueError(f"solver={name!r}; choose one of {', '.join(sorted(SOLVERS))}")
    return SOLVERS[name]


def make_plan(
    name: str,
    schedule: Schedule,
    nfe: int,
    *,
    grid: str | None = None,
    prediction: str = "epsilon",
    direction: str = "sample",
    options: Mapping[str, object] | None = None,
) -> Plan:
    """The plan of a registered solver at ``nfe`` network evaluations.

    grid: a name of ``grids.GRIDS``; by default the solver's own. prediction: what the network returns. direction:
    "sample", or "encode" for the rising grid. options: on top of the registered ones (for example ``{"eta": 0.5}`` for
    ddim). Raises ValueError naming the argument; also where the solver cannot make exactly ``nfe`` evaluations.
    """
    solver = find(name)
    _check_nfe(nfe)
    if direction not in ("sample", "encode"):
        raise ValueError(f"direction={direction!r}; choose 'sample' or 'encode'")
    if options and "prediction" in options:
        raise ValueError("options: contains 'prediction'; pass make_plan(..., prediction=...)")
    times = _times(solver, schedule, nfe, grid or solver.default_grid, direction)
    plan = rebuild(name, schedule, times, {**solver.options, **(options or {}), "prediction": prediction})
    if plan.nfe != nfe:
        raise ValueError(f"nfe={nfe}; {name} makes {plan.nfe} evaluations on this grid: ask for that number")
    return plan


def _times(solver: Solver, schedule: Schedule, nfe: int, grid: str, direction: str) -> NDArray[np.float64]:
    if grid not in grids.GRIDS:
        raise ValueError(f"grid={grid!r}; choose one of {', '.join(grids.GRIDS)}")
    make = grids.GRIDS[grid]
    if direction == "encode":
        return make(schedule, max(1, nfe // solver.evaluations_per_step))[::-1]
    if not solver.ends_at_zero:
        return make(schedule, max(1, nfe // solver.evaluations_per_step))
    steps_before_zero = -(-nfe // solver.evaluations_per_step) - 1  # the step to gamma = 0 costs one evaluation
    if steps_before_zero == 0:
        return grids.given(schedule, [schedule.t_max, schedule.t_zero])
    return grids.with_zero(schedule, make(schedule, steps_before_zero))


def rebuild(name: str, schedule: Schedule, grid: ArrayLike, options: Mapping[str, object]) -> Plan:
    """Build from a recipe: the solver's function with these options on this grid."""
    return find(name).build(schedule, grid, **options)


def _check_nfe(nfe: int) -> None:
    if isinstance(nfe, bool) or not isinstance(nfe, int):
        raise TypeError(f"nfe={nfe!r}; need an integer")
    if nfe < 1:
        raise ValueError(f"nfe={nfe}; need at least 1 network evaluation")
