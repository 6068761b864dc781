"""The one table of solvers: name -> function, options, declared properties. CLI, docs, tests and benchmarks read it."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import NamedTuple

from numpy.typing import ArrayLike

from .. import grids
from .._arguments import integer, real, shown
from ..plan import Plan, Recipe
from ..schedules import Remembered, Schedule
from .clipping import clipped
from .older_form import is_older_form
from .temperature import tempered

__all__ = [
    "SOLVERS",
    "SPELLINGS",
    "Budget",
    "Solver",
    "UnreachableNFE",
    "find",
    "option_names",
    "per_step",
    "rebuild",
    "recipe_of",
    "register",
    "starting_at",
]


class Budget(NamedTuple):
    """What a number of evaluations buys: steps that end before gamma = 0, and options that follow from the number."""

    steps: int
    options: Mapping[str, object] = MappingProxyType({})


def per_step(evaluations: int) -> Callable[[int], Budget]:
    """The budget of a solver that makes this many evaluations in every step."""
    return lambda nfe: Budget(nfe // evaluations)


one_per_step = per_step(1)


@dataclass(frozen=True)
class Solver:
    """A registered solver: ``build(schedule, grid, prediction=..., **options) -> Plan``.

    order: global order of convergence with an exact start (last steps of lower order left out), weak order if
    stochastic. stochastic: whether the registered options draw noise. exact_on_point_mass: data of one point is sampled
    exactly (stochastic: in law) at any number of steps. choices: options among which :func:`make_plan` chooses, with
    the grid, by the score of :mod:`.scoring`; none that the caller gives. grids: the names in ``grids.GRIDS`` among
    which it chooses, None for all that fit the schedule. denoise: whether the grid goes on to the time of gamma = 0,
    where a step costs one evaluation. budget: the steps that a number of evaluations buys, that one not counted.
    budget_with: the same where it depends on the options. langevin: whether it makes steps of Langevin dynamics, which
    follow no path and have no order of convergence (order 0, or that of the steps between); its plans may compute
    numbers while they run.
    """

    name: str
    build: Callable[..., Plan]
    order: int
    options: Mapping[str, object] = field(default_factory=dict)
    stochastic: bool = False
    exact_on_point_mass: bool = True
    choices: tuple[Mapping[str, object], ...] = ()
    grids: tuple[str, ...] | None = None
    denoise: bool = False
    budget: Callable[[int], Budget] = one_per_step
    budget_with: Callable[[int, Mapping[str, object]], Budget] | None = None
    langevin: bool = False
    summary: str = ""


class UnreachableNFE(ValueError):
    """A solver cannot make exactly this number of evaluations; the message says which it can."""


SOLVERS: dict[str, Solver] = {}
SPELLINGS: Mapping[str, str] = MappingProxyType(
    {
        "euler": "ddim", "euler_a": "ddpm", "dpm++_2m": "dpmpp_2m", "dpm++2m": "dpmpp_2m", "dpm++_3m": "dpmpp_3m",
        "dpm++3m": "dpmpp_3m", "dpm++_2m_sde": "dpmpp_2m_sde", "dpm++2m_sde": "dpmpp_2m_sde", "dpm++": "dpmpp",
        "dpmpp2m": "dpmpp_2m", "deis": "deis_log_ab", "uni_pc": "unipc", "heun": "edm_heun",
        "midpoint": "flow_midpoint",
        "rk4": "flow_rk4", "ab2": "flow_ab2", "flow_match_euler": "flow_euler",
        "pndm": "plms",
    }
)  # fmt: skip
"""Names by which users of other libraries know a solver -> its name here."""


def register(*solvers: Solver) -> None:
    for solver in solvers:
        if solver.name in SOLVERS:
            raise ValueError(f"solver {solver.name!r} is registered twice")
        SOLVERS[solver.name] = solver


def find(name: str) -> Solver:
    """The entry of this name or known spelling; ValueError with the names that come closest, or all."""
    if isinstance(name, str):
        plain = name.lower().replace("-", "_").replace(" ", "_")
        known = SPELLINGS.get(plain, plain)
        if known in SOLVERS:
            return SOLVERS[known]
        if close := difflib.get_close_matches(plain, [*SOLVERS, *SPELLINGS]):
            fix = f"did you mean {' or '.join(close)}? All: {', '.join(sorted(SOLVERS))}"
            raise ValueError(f"solver={shown(name)}; {fix}")
    raise ValueError(f"solver={shown(name)}; choose one of {', '.join(sorted(SOLVERS))}")


def option_names(solver: Solver) -> list[str]:
    """What the solver's function takes by name."""
    parameters = inspect.signature(solver.build).parameters.values()
    return [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]


def rebuild(name: str, schedule: Schedule, grid: ArrayLike, options: Mapping[str, object]) -> Plan:
    """Build from a recipe: the solver's function, these options and this grid; the plan's recipe has this name.

    Of the options "clip" and "temperature" belong to no solver: the one is as :func:`make_plan` says, the other as
    :func:`.tempered`.
    """
    build = find(name).build
    clip, temperature = options.get("clip"), options.get("temperature")
    options = {key: value for key, value in options.items() if key not in ("clip", "temperature")}
    known = option_names(find(name))
    if unknown := [key for key in options if key not in known]:
        raise ValueError(f"options: {name} has no {unknown[0]!r}; choose from {known}")
    times = grids.given(schedule, grid)
    plan = build(schedule if isinstance(schedule, Remembered) else Remembered(schedule, times), times, **options)
    plan = plan if clip is None else clipped(plan, real(clip, "clip"))
    plan = plan if temperature is None else tempered(plan, real(temperature, "temperature"))
    if plan.recipe is None or plan.recipe.solver == name:
        return plan
    return replace(plan, recipe=replace(plan.recipe, solver=name))


def recipe_of(plan: Plan) -> Recipe:
    """The plan's recipe; ValueError where it has none, or one that makes another plan, as after an edit by hand."""
    recipe = plan.recipe
    if recipe is None:
        raise ValueError("plan: has no recipe to rebuild it from; make it with make_plan or a solver function")
    if plan.calibration is not None:
        raise ValueError(
            f"plan: calibrated from {recipe.solver} as a whole, its first rows too, so no other start can be made of "
            "it; run it from its first time, or take a plan of a solver"
        )
    rebuilt = rebuild(recipe.solver, plan.schedule, recipe.grid, recipe.options)
    rebuilt = rebuilt if plan.guidance is None else rebuilt.guided(plan.guidance)
    if rebuilt != plan and not is_older_form(plan, rebuilt):
        raise ValueError(
            f"plan: is not what its recipe ({recipe.solver}) makes, which would undo the changes; give a plan without "
            "changes, or build the changed one on the times that it is to run"
        )
    return recipe


def starting_at(plan: Plan, k: int) -> Plan:
    """The plan of the same recipe from its k-th time on, with its own warm-up (image to image).

    ValueError for a plan without a recipe, or changed since, and a k that is no step of the grid.
    """
    recipe, k = recipe_of(plan), integer(k, "k")
    if not 0 <= k < len(recipe.grid) - 1:
        raise ValueError(f"k={k}; the grid has {len(recipe.grid) - 1} steps, so k is 0..{len(recipe.grid) - 2}")
    rest = rebuild(recipe.solver, plan.schedule, recipe.grid[k:], recipe.options)
    return rest if plan.guidance is None else rest.guided(plan.guidance)
