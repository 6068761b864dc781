"""Making a plan of 20 steps on a checkpoint's table of 1000, against what the schedulers of diffusers make of theirs.

"new" makes everything: times, integrals, rows, their checks and the judgement of the plan; "kept" asks for a plan that
was made before. Theirs is ``set_timesteps``, which makes times and noise levels alone: coefficients follow in every
step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import diffusers

import genie_samplers as gs
from genie_samplers.plan import Plan
from genie_samplers.solvers.make import kept_plan

from ..case import Benchmark, Case, Competitor, Settings

__all__ = ["BENCHMARK"]

_TABLE = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


@dataclass(frozen=True)
class _Method:
    """A solver with its grid, and the scheduler of diffusers that has the same times."""

    solver: str
    scheduler: str
    grid: str = "trailing"
    evaluations: int = 0  # more than steps
    options: dict[str, object] = field(default_factory=lambda: {"timestep_spacing": "trailing"})


_METHODS = (
    _Method("ddim", "DDIMScheduler"),
    _Method("deis_tab3", "DEISMultistepScheduler"),
    _Method("deis_log_ab3", "DEISMultistepScheduler"),
    _Method("unipc2", "UniPCMultistepScheduler"),
    _Method("dpmpp_2m", "DPMSolverMultistepScheduler"),
    _Method("dpmpp_3m", "DPMSolverMultistepScheduler"),
    _Method("ipndm4", "EulerDiscreteScheduler"),
    _Method("edm_heun", "HeunDiscreteScheduler", evaluations=19),
)


def _cases(settings: Settings) -> Iterator[Case]:
    schedule = gs.schedules.from_betas(gs.schedules.scaled_linear_betas(1000))
    for method in _METHODS:
        scheduler = getattr(diffusers, method.scheduler)(**_TABLE, **method.options)
        options = {"lower_order_final": True} if method.solver.startswith("dpmpp") else {}
        nfe = settings.steps + method.evaluations
        kept = partial(gs.make_plan, method.solver, schedule, nfe, grid=method.grid, options=options)
        theirs = partial(scheduler.set_timesteps, settings.steps)
        competitors = [
            Competitor("new", partial(_new, kept)),
            Competitor("kept", kept),
            Competitor("diffusers", theirs),
        ]
        yield Case(
            f"{method.solver}, {settings.steps} steps", competitors, partial(_disagreement, kept, scheduler, theirs)
        )


def _new(make: Callable[[], Plan]) -> Plan:
    kept_plan.cache_clear()
    return make()


def _disagreement(make: Callable[[], Plan], scheduler: object, theirs: Callable[[], object]) -> str | None:
    """Both ask the network at the same times."""
    theirs()
    asked = dict.fromkeys(scheduler.timesteps.tolist())  # type: ignore[attr-defined]
    made = dict.fromkeys(make().times)
    return None if list(made) == list(asked) else f"times: {list(made)} here, {list(asked)} there"


BENCHMARK = Benchmark(
    "plan_building",
    unit="plan",
    summary=f"a plan of a table of 1000, against set_timesteps of diffusers {diffusers.__version__}",
    cases=_cases,
)
