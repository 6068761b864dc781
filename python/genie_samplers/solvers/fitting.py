"""The plan of a registered solver at an exact number of network evaluations, on a grid given by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from .. import grids
from .._arguments import boolean
from ..plan import Plan
from ..schedules import Schedule
from .registry import Budget, Solver, UnreachableNFE, rebuild

__all__ = ["GRID_NAMES", "fitted"]

Array = NDArray[np.float64]

GRID_NAMES = (*grids.GRIDS, *grids.DISCRETE_GRIDS)
_MOST_ENDS = 2  # steps to gamma = 0 and from gamma = inf, which take one evaluation of whatever solver


def fitted(
    solver: Solver,
    schedule: Schedule,
    nfe: int,
    grid: str,
    options: Mapping[str, object],
    *,
    encode: bool = False,
    denoise: bool = False,
    shift: float | None = None,
    end: float | None = None,
    on: Callable[[Array], Schedule] | None = None,
) -> Plan:
    """The plan with exactly ``nfe`` evaluations; UnreachableNFE where the solver cannot make just these.

    grid: a name of :data:`GRID_NAMES`; shift: of ``shifted_t``; end: its last time in place of the schedule's. on: what
    stands for the schedule on a grid, where values are kept from one plan to the next.
    """
    found: list[int] = []
    for ends in range(_MOST_ENDS + 1):
        budget = _budget(solver, nfe - denoise - ends, options)
        chosen = {**budget.options, **options}
        analytic = boolean(chosen.get("afs", False), "afs")
        times = _times(schedule, budget.steps + ends + analytic, grid, denoise=denoise, shift=shift, end=end)
        _check_start(schedule, times, grid, analytic=analytic, encode=encode)
        times = times[::-1] if encode else times
        plan = rebuild(solver.name, schedule if on is None else on(times), times, chosen)
        if plan.nfe == nfe:
            return plan
        found.append(plan.nfe)
    raise UnreachableNFE(f"nfe={nfe}; {solver.name} makes {found[0]} evaluations on this grid: ask for that number")


def _budget(solver: Solver, nfe: int, options: Mapping[str, object]) -> Budget:
    return solver.budget(nfe) if solver.budget_with is None else solver.budget_with(nfe, options)


def _check_start(schedule: Schedule, times: Array, grid: str, *, analytic: bool, encode: bool) -> None:
    if times[0] == schedule.t_max:
        return
    if analytic:
        raise ValueError(f"afs=True on grid={grid!r}, which starts at t={times[0]!s}; choose one that starts at t_max")
    if encode:
        raise ValueError(f"grid={grid!r} reaches only t={times[0]!s}; encode on one that reaches t_max, as 'linspace'")


def _times(
    schedule: Schedule, steps: int, grid: str, *, denoise: bool, shift: float | None, end: float | None
) -> Array:
    if grid in grids.DISCRETE_GRIDS:
        times = grids.DISCRETE_GRIDS[grid](schedule, (steps if denoise else max(1, steps)) + 1)
        if not denoise and times[-2] != schedule.t_end:
            raise ValueError(
                f"grid={grid!r} without denoise ends in noise, at t={times[-2]!s}; use 'linspace' or denoise"
            )
        return times if denoise else times[:-1]
    options = {} if shift is None else {"shift": shift}
    if denoise and steps == 0:
        return grids.given(schedule, [schedule.t_max, schedule.t_zero])
    times = grids.GRIDS[grid](schedule, steps if denoise else max(1, steps), t_end=end, **options)
    return grids.with_zero(schedule, times) if denoise else times
