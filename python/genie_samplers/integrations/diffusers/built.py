"""The plan of a scheduler's configuration on its times, as the pipeline sees it; kept for the next time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

from ...plan import Plan
from ...predictions import to_x0
from ...schedules import Schedule
from ...solvers.choosing import Options
from ...solvers.make import AUTO_NAME, make_plan
from ...solvers.registry import find
from .rows import bounded_beside_epsilon, in_sigma_space, negated, predicting, renoised, unit

__all__ = ["RENOISED", "Built", "Wanted", "built", "built_of", "evaluations_of_a_step"]

_KEPT, _MANY = 128, 60
NO_OPTIONS = Options({})
RENOISED = "renoised"  # of no other use, so that it is not registered


@dataclass(frozen=True)
class Wanted:
    """What decides a plan.

    times: its grid, the end included; or else nfe, on the ``grid`` of that name or the one that make_plan chooses.
    clip: bound of the predicted clean data; beside_epsilon: whether the noise is read from the network all the same;
    dynamic: whether that bound is computed per sample. sigma_space: whether the state is x / alpha. negated: whether
    the network returns the negative of ``prediction``. midway: the solver of a run that begins where ``solver`` asks
    twice at a time, or cannot begin with the evaluations that are left.
    """

    solver: str
    schedule: Schedule
    prediction: str
    times: tuple[float, ...] | None = None
    nfe: int | None = None
    grid: str | None = None
    options: Options = NO_OPTIONS
    clip: float | None = None
    beside_epsilon: bool = False
    dynamic: bool = False
    sigma_space: bool = False
    negated: bool = False
    midway: str | None = None

    def on(self, times: tuple[float, ...]) -> Wanted:
        """The same on other times."""
        return replace(self, times=times, nfe=None, grid=None)

    def using(self, solver: str | None = None, options: Mapping[str, object] = NO_OPTIONS) -> Wanted:
        """The same with another solver, or with further options."""
        kept: Mapping[str, object] = self.options if solver is None else {}
        return replace(self, solver=solver or self.solver, options=Options({**kept, **options}))


@dataclass(frozen=True)
class Built:
    """plan: its rows as the pipeline sees them. times: the grid. asked: the time of each evaluation. x0: per evaluation
    the weights of state and output in the predicted clean data.
    """

    plan: Plan
    times: tuple[float, ...]
    asked: tuple[float, ...]
    x0: tuple[tuple[float, float], ...]

    @cached_property
    def predicting(self) -> Plan:
        """A row per evaluation, of state and output to the clean data that they predict."""
        return predicting(self.plan.outputs[0], self.asked, self.x0)


@lru_cache(_KEPT)
def built(wanted: Wanted) -> Built:
    """The plan; errors are those of ``make_plan``, and of the schedule's ends."""
    schedule = wanted.schedule
    if wanted.solver == RENOISED and wanted.times is not None:
        return _seen(wanted, renoised(schedule, wanted.times, wanted.prediction), wanted.times)
    clip = None if wanted.beside_epsilon else wanted.clip
    plan = make_plan(
        wanted.solver, schedule, wanted.nfe, grid=wanted.grid, times=wanted.times, prediction=wanted.prediction,
        clip=clip, options=dict(wanted.options),
    )  # fmt: skip
    times = plan.times if plan.recipe is None else plan.recipe.grid
    if wanted.beside_epsilon and wanted.clip is not None:
        plan = bounded_beside_epsilon(plan, schedule, wanted.clip)
    return _seen(wanted, plan, times)


def built_of(schedule: Schedule, prediction: str, plan: Plan) -> Built:
    """Of a plan that is there already, as it is; it has a recipe."""
    times = plan.times if plan.recipe is None else plan.recipe.grid
    return _seen(Wanted("plan", schedule, prediction), plan, times)


def evaluations_of_a_step(solver: str) -> int:
    """Of a registered solver: 2 of Heun's method, 1 of those that read earlier outputs, and of what is chosen."""
    if solver in (RENOISED, AUTO_NAME):
        return 1
    return round(_MANY / find(solver).budget(_MANY).steps)


def _seen(wanted: Wanted, plan: Plan, times: tuple[float, ...]) -> Built:
    """The plan as the pipeline sees it; ValueError for one that a scheduler cannot run."""
    if not plan.is_table or plan.init.distribution != "normal":
        raise ValueError(
            "plan: applies operators, computes gains or starts in uniform noise, which no scheduler does; run it by "
            "genie_samplers.sample"
        )
    plan = negated(plan) if wanted.negated else plan
    plan = in_sigma_space(plan, wanted.schedule, times[-1]) if wanted.sigma_space else plan
    asked = tuple(row.time for row in plan.rows if row.calls)
    return Built(plan, times, asked, tuple(_x0(wanted, t) for t in asked))


def _x0(wanted: Wanted, t: float) -> tuple[float, float]:
    p, q = (float(v) for v in to_x0(wanted.prediction, wanted.schedule, t))
    scale = unit(wanted.schedule, t) if wanted.sigma_space else 1.0
    return p * scale, -q if wanted.negated else q
