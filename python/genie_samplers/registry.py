"""The one table of solvers: name -> function, options, declared properties. CLI, docs, tests and benchmarks read it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import grids
from ._arguments import integer
from .schedules import Schedule, check_schedule

if TYPE_CHECKING:
    from .plan import Plan

__all__ = ["SOLVERS", "Solver", "UnreachableNFE", "find", "make_plan", "rebuild", "register"]


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


class UnreachableNFE(ValueError):
    """A solver cannot make exactly this number of evaluations; the message says which it can."""


SOLVERS: dict[str, Solver] = {}


def register(*solvers: Solver) -> None:
    for solver in solvers:
        if solver.name in SOLVERS:
            raise ValueError(f"solver {solver.name!r} is registered twice")
        SOLVERS[solver.name] = solver


def find(name: str) -> Solver:
    if not isinstance(name, str) or name not in SOLVERS:
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
    ddim). Raises ValueError or TypeError naming the argument, UnreachableNFE where the solver cannot make exactly
    ``nfe`` evaluations.
    """
    solver = find(name)
    check_schedule(schedule)
    nfe = integer(nfe, "nfe", least=1)
    if direction not in ("sample", "encode"):
        raise ValueError(f"direction={direction!r}; choose 'sample' or 'encode'")
    chosen = _checked_options(solver, {} if options is None else options)
    times = _times(solver, schedule, nfe, solver.default_grid if grid is None else grid, direction)
    plan = rebuild(name, schedule, times, {**chosen, "prediction": prediction})
    if plan.nfe != nfe:
        raise UnreachableNFE(f"nfe={nfe}; {name} makes {plan.nfe} evaluations on this grid: ask for that number")
    return plan


def _times(solver: Solver, schedule: Schedule, nfe: int, grid: str, direction: str) -> NDArray[np.float64]:
    if not isinstance(grid, str) or grid not in grids.GRIDS:
        fix = f"choose one of {', '.join(grids.GRIDS)}, or call {solver.build.__name__}(schedule, times)"
        raise ValueError(f"grid={grid!r}; {fix}")
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
    build = find(name).build
    known = [p.name for p in inspect.signature(build).parameters.values() if p.kind is p.KEYWORD_ONLY]
    if unknown := [key for key in options if key not in known]:
        raise ValueError(f"options: {name} has no {unknown[0]!r}; choose from {known}")
    return build(schedule, grid, **options)


def _checked_options(solver: Solver, options: Mapping[str, object]) -> dict[str, object]:
    """The registered options and the caller's."""
    if not isinstance(options, Mapping):
        raise TypeError(f"options={options!r}: give a mapping such as {{'eta': 0.5}}")
    if "prediction" in options:
        raise ValueError("options: contains 'prediction'; pass make_plan(..., prediction=...)")
    for key, fixed in solver.options.items():
        if options.get(key, fixed) != fixed:
            fix = f"choose another solver or call {solver.build.__name__}(schedule, grid, {key}={options[key]!r})"
            raise ValueError(f"options: {key}={options[key]!r}, but {solver.name} means {key}={fixed!r}; {fix}")
    return {**options, **solver.options}
