"""Plans for a denoiser: a model that is asked at noise levels and returns the clean data.

A level is k-diffusion's sigma, x = x_0 + sigma n, or on a flow schedule the share of noise, x = (1 - t) x_0 + t n.
Levels are the times of ``schedules.edm`` and ``schedules.flow``. A plan of any other schedule runs in its own state,
alpha(t) x: the rows divide by alpha on the way into the model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._arguments import real, reals
from ..plan import Combination, Plan
from ..predictions import to_x0
from ..schedules import EDM, Flow, Schedule
from ..solvers.choosing import Options
from ..solvers.make import make_plan
from ..solvers.registry import SOLVERS, rebuild, recipe_of, starting_at

__all__ = [
    "DenoiserPlan",
    "checked_levels",
    "for_denoiser",
    "level_at",
    "levels_of",
    "plan_on",
    "solver_names",
    "tail_on",
]

Array = NDArray[np.float64]

_KEPT = 64
_EDM = EDM()
_ROOM = 2.0  # churn raises a level by at most the square root of 2
_SAME = 1e-5  # relative; a level read from a float32 tensor is within 6e-8


class DenoiserPlan(NamedTuple):
    """A plan of x_0 and what a loop over noise levels needs beside it.

    levels: at which each row asks the model, [rows]. starts: the row with which each step begins. first, last: alpha at
    the ends of the grid; the plan's first state is ``first`` x, and its last one ``last`` times the result.
    """

    plan: Plan
    levels: tuple[float, ...]
    starts: tuple[int, ...]
    first: float
    last: float

    def with_noise_scale(self, scale: float) -> DenoiserPlan:
        """Every draw multiplied by ``scale``, k-diffusion's s_noise. ValueError unless finite and 0 or more."""
        if not 0.0 <= real(scale, "s_noise") < math.inf:
            raise ValueError(f"s_noise={scale}; give a finite number, 0 or more")
        if scale == 1.0 or not self.plan.stochastic:
            return self
        rows = (
            replace(row, x=_noisier(row.x, scale), aux=row.aux and _noisier(row.aux, scale)) for row in self.plan.rows
        )
        return self._replace(plan=replace(self.plan, rows=tuple(rows), recipe=None))


def checked_levels(sigmas: ArrayLike, *, flow: bool) -> Array:
    """As float64 on the host. ValueError naming ``sigmas`` unless 1-D, finite, 0 or more, at most 1 for flow, and
    monotone.
    """
    levels = np.array(reals(sigmas, "sigmas"))
    if levels.ndim != 1:
        raise ValueError(f"sigmas: shape {levels.shape}; give the noise levels in 1-D")
    if wrong := np.flatnonzero(~(np.isfinite(levels) & (levels >= 0.0))).tolist():
        raise ValueError(f"sigmas[{wrong[0]}]={levels[wrong[0]]}; give finite noise levels, 0 or more")
    if flow and (above := np.flatnonzero(levels > 1.0).tolist()):
        fix = "its levels are shares of noise, 0..1; leave flow out for k-diffusion's sigma"
        raise ValueError(f"sigmas[{above[0]}]={levels[above[0]]} with flow=True; {fix}")
    change = np.diff(levels)
    if stalled := np.flatnonzero(change * np.sign(change[:1]) <= 0.0).tolist():
        k = stalled[0] + 1
        raise ValueError(f"sigmas[{k}]={levels[k]} after {levels[k - 1]}; give levels that all fall (or all rise)")
    if len(levels) > 1 and levels[0] == 0.0:
        raise ValueError("sigmas[0]=0.0: clean data determine no noise to go on with; start above 0, as at 1e-3")
    return levels


def plan_on(name: str, levels: Array, *, flow: bool, options: Mapping[str, object]) -> DenoiserPlan:
    """The plan of a registered solver, or of "auto", on two or more levels; the last 64 are kept."""
    return _plan_on(name, tuple(levels.tolist()), flow, Options(options))


@lru_cache(_KEPT)
def _plan_on(name: str, levels: tuple[float, ...], flow: bool, options: Options) -> DenoiserPlan:
    schedule = _schedule(max(levels), flow=flow)
    direction = "encode" if levels[-1] > levels[0] else "sample"
    plan = make_plan(name, schedule, times=levels, prediction="x0", direction=direction, options=options)
    return _in_levels(plan)


def _schedule(highest: float, *, flow: bool) -> Schedule:
    if flow:
        return Flow()
    return _EDM if _ROOM * highest <= _EDM.gamma_max else EDM(gamma_max=_ROOM * highest)


@cache
def solver_names() -> tuple[str, ...]:
    """The registered solvers that read the prediction alone and make one step from level to level, sorted."""
    levels = np.array([1.0, 0.5, 0.0])
    return tuple(
        sorted(
            name
            for name, solver in SOLVERS.items()
            if not solver.langevin and len(solver.build(_EDM, levels, **solver.options).outputs) == 1
        )
    )


def for_denoiser(plan: Plan, *, flow: bool) -> Plan:
    """The same method on outputs of x_0.

    ValueError for a plan of the other path, a guided one, and one that its recipe no longer rebuilds unless it is of
    x_0 already.
    """
    schedule = plan.schedule
    if isinstance(schedule, Flow) != flow:
        path, fix = ("flow", "a flow schedule") if flow else ("k-diffusion", "edm or the model's own table")
        raise ValueError(f"plan: of schedule {schedule.name!r}, but the model's path is {path}'s; make it with {fix}")
    if plan.guidance is not None:
        raise ValueError("plan: is guided, but guidance is the denoiser's own; give the plan before guided()")
    if plan.outputs == ("x0",):
        return plan
    if plan.calibration is not None and len(plan.outputs) == 1:
        return _of_x0(plan)
    recipe = recipe_of(plan)
    return rebuild(recipe.solver, schedule, recipe.grid, {**recipe.options, "prediction": "x0"})


def _of_x0(plan: Plan) -> Plan:
    """The same numbers on outputs of x_0, for a plan that no recipe rebuilds: the network's own from x and x_0."""
    rows = []
    for row in plan.rows:
        p, q = (float(v) for v in to_x0(plan.outputs[0], plan.schedule, row.time))
        converted = (replace(c, p=c.p - c.q[0] * p / q, q=(c.q[0] / q,)) for c in row.converted)
        rows.append(replace(row, converted=tuple(converted)))
    return replace(plan, outputs=("x0",), rows=tuple(rows))


def levels_of(plan: Plan) -> Array:
    """The levels of the plan's grid; ValueError for a plan without recipe, and where sigma is infinite."""
    if plan.recipe is None:
        raise ValueError("plan: has no recipe that says its grid; make it with make_plan or a solver function")
    return level_at(plan.schedule, plan.recipe.grid)


def tail_on(plan: Plan, levels: Array) -> DenoiserPlan:
    """The plan from the step at ``levels[0]`` on; ValueError unless these are the last levels of the plan's grid."""
    own = levels_of(plan)
    k = len(own) - len(levels)
    if k < 0 or not np.allclose(levels, own[k:], rtol=_SAME, atol=0.0):
        given, grid = (f"{each[0]:.6g}, .., {each[-1]:.6g} in {len(each) - 1} steps" for each in (levels, own))
        raise ValueError(
            f"sigmas: {given} are not the last levels of the plan's grid, {grid}; take sigmas_of(plan), or give the "
            "solver by name to run it on other levels"
        )
    return _in_levels(starting_at(plan, k) if k else plan)


def _in_levels(plan: Plan) -> DenoiserPlan:
    if len(plan.outputs) > 1:
        raise ValueError(
            f"solver: the plan reads {', '.join(plan.outputs[1:])}, which a denoiser does not give; take a solver that "
            "reads predictions alone"
        )
    if not plan.is_table or plan.init.distribution != "normal":
        raise ValueError(
            "solver: the plan applies operators, computes gains or starts in uniform noise, which a loop over levels "
            "does not do; run it by genie_samplers.sample"
        )
    starts = tuple(n for n, row in enumerate(plan.rows) if row.converted and not row.reads_aux)
    levels = tuple(level_at(plan.schedule, plan.times).tolist())
    if isinstance(plan.schedule, Flow) or plan.recipe is None:
        return DenoiserPlan(plan, levels, starts, 1.0, 1.0)
    alphas = plan.schedule.alpha(plan.times).tolist()
    first, last = (float(plan.schedule.alpha(plan.recipe.grid[end])) for end in (0, -1))
    if any(alpha != 1.0 for alpha in alphas):
        rows = (replace(row, input_scale=1.0 / alpha) for row, alpha in zip(plan.rows, alphas, strict=True))
        plan = replace(plan, rows=tuple(rows), recipe=None)
    return DenoiserPlan(plan, levels, starts, first, last)


def level_at(schedule: Schedule, times: ArrayLike) -> Array:
    """The share of noise at these times of a flow schedule, else gamma; ValueError where that is infinite."""
    levels = schedule.noise_share(times) if isinstance(schedule, Flow) else schedule.gamma(times)
    if not np.isfinite(levels).all():
        raise ValueError(
            f"plan: its schedule {schedule.name!r} is at infinite sigma there, which k-diffusion's x has not; take a "
            "grid that begins later"
        )
    return levels


def _noisier(state: Combination, scale: float) -> Combination:
    return replace(state, draws=tuple(scale * weight for weight in state.draws))
