"""The one table of solvers: name -> function, options, declared properties. CLI, docs, tests and benchmarks read it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import grids
from .._arguments import boolean, choice, integer, real, shown
from ..plan import Plan, Recipe, Row
from ..schedules import Schedule, check_schedule
from .clipping import clipped

__all__ = [
    "SOLVERS",
    "Budget",
    "Solver",
    "UnreachableNFE",
    "best_measured",
    "find",
    "make_plan",
    "per_step",
    "rebuild",
    "recipe_of",
    "register",
    "starting_at",
]


class Budget(NamedTuple):
    """What a number of evaluations buys: steps that end before gamma = 0, and what else follows from the number."""

    steps: int
    options: Mapping[str, object] = MappingProxyType({})
    grid: str | None = None  # in place of the solver's default grid


def per_step(evaluations: int) -> Callable[[int], Budget]:
    """The budget of a solver that makes this many evaluations in every step."""
    return lambda nfe: Budget(nfe // evaluations)


def best_measured(choices: Mapping[int, tuple[int, str]], option: str = "order") -> Callable[[int], Budget]:
    """The budget of a multistep family: from each number of evaluations on, the order (or other option) and the grid
    that did best. A caller's own value of the option leaves the grid as it is.
    """

    def budget(nfe: int) -> Budget:
        value, grid = choices[max((least for least in choices if least <= nfe), default=min(choices))]
        return Budget(nfe, {option: value}, grid)

    return budget


one_per_step = per_step(1)


@dataclass(frozen=True)
class Solver:
    """A registered solver: ``build(schedule, grid, prediction=..., **options) -> Plan``.

    order: global order of convergence with an exact start (last steps of lower order left out), weak order if
    stochastic. stochastic: whether the registered options draw noise. exact_on_point_mass: data of one point is sampled
    exactly (stochastic: in law) at any number of steps. default_grid: name in ``grids.GRIDS``, by measurement
    (docs/quality.md). denoise: whether the default grid goes on to the time of gamma = 0, where a step costs one
    evaluation. budget: the steps that a number of evaluations buys, that one not counted.
    """

    name: str
    build: Callable[..., Plan]
    order: int
    options: Mapping[str, object] = field(default_factory=dict)
    stochastic: bool = False
    exact_on_point_mass: bool = True
    default_grid: str = "karras"
    denoise: bool = False
    budget: Callable[[int], Budget] = one_per_step
    summary: str = ""


class UnreachableNFE(ValueError):
    """A solver cannot make exactly this number of evaluations; the message says which it can."""


SOLVERS: dict[str, Solver] = {}
_ROUNDING = 16 * np.finfo(np.float64).eps
_GRID_NAMES = (*grids.GRIDS, *grids.DISCRETE_GRIDS)


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
    model: object = None,
    prediction: str | None = None,
    clip: float | None = None,
    direction: str = "sample",
    denoise: bool | None = None,
    options: Mapping[str, object] | None = None,
) -> Plan:
    """The plan of a registered solver at ``nfe`` network evaluations.

    grid: a name of ``grids.GRIDS`` or, for a checkpoint's table, of ``grids.DISCRETE_GRIDS`` (for other times call the
    solver's function); by default the schedule's ``preferred_grid``, where it has one, or the solver's. prediction:
    what the network returns, one of ``predictions.PREDICTIONS``; by default what the ``model`` says in its attribute
    ``prediction``, else "epsilon". clip: clamp every prediction of the clean data to [-clip, clip], 1.0 for images in
    [-1, 1]; a solver that reads derivatives cannot. direction: "sample", or "encode" for the rising grid. denoise:
    whether the last evaluation makes a step to gamma = 0, in which a flow schedule's grid ends in any case; by default
    the habit of the solver, and of a discrete grid.
    options: on top of the registered ones (for example ``{"eta": 0.5}`` for ddim); "afs", an analytic first step, buys
    a step more. Raises ValueError or TypeError naming the argument, UnreachableNFE where the solver cannot make just
    ``nfe`` evaluations.
    """
    solver = find(name)
    check_schedule(schedule)
    prediction = _prediction(model, prediction)
    nfe = integer(nfe, "nfe", least=1)
    encode = choice(direction, "direction", ("sample", "encode")) == "encode"
    if grid is not None and not (isinstance(grid, str) and grid in _GRID_NAMES):
        fix = f"choose one of {', '.join(_GRID_NAMES)}, or call {solver.build.__name__}(schedule, times)"
        raise ValueError(f"grid={grid!r}; {fix}")
    if denoise is None:
        denoise = (solver.denoise or grid in grids.DISCRETE_GRIDS) and not encode
    denoise = boolean(denoise, "denoise")
    if denoise and encode:
        raise ValueError("denoise=True with direction='encode'; only sampling can end at gamma = 0")
    denoise = denoise and (grid in grids.DISCRETE_GRIDS or schedule.t_end != schedule.t_zero)  # it ends there anyway
    own = {} if options is None else options
    fixed: dict[str, object] = {"prediction": prediction, **({} if clip is None else {"clip": clip})}
    found: list[int] = []
    for ends in range(3):  # steps to gamma = 0 and from gamma = inf take one evaluation, of whatever solver
        budget = solver.budget(nfe - denoise - ends)
        chosen = {**budget.options, **_checked_options(solver, own)}
        analytic = boolean(chosen.get("afs", False), "afs")
        chosen_grid = grid or schedule.preferred_grid or budget.grid or solver.default_grid
        times = _times(schedule, budget.steps + ends + analytic, chosen_grid, denoise=denoise)
        _check_start(schedule, times, chosen_grid, analytic=analytic, encode=encode)
        plan = rebuild(name, schedule, times[::-1] if encode else times, {**chosen, **fixed})
        if plan.nfe == nfe:
            return plan
        found.append(plan.nfe)
    raise UnreachableNFE(f"nfe={nfe}; {name} makes {found[0]} evaluations on this grid: ask for that number")


def _check_start(schedule: Schedule, times: NDArray[np.float64], grid: str, *, analytic: bool, encode: bool) -> None:
    if times[0] == schedule.t_max:
        return
    if analytic:
        raise ValueError(f"afs=True on grid={grid!r}, which starts at t={times[0]!s}; choose one that starts at t_max")
    if encode:
        raise ValueError(f"grid={grid!r} reaches only t={times[0]!s}; encode on one that reaches t_max, as 'linspace'")


def _prediction(model: object, prediction: str | None) -> str:
    """The caller's, or else the network's own, or else "epsilon"."""
    own = getattr(model, "prediction", None)
    if not isinstance(own, str):  # a network may use the name for something else, a layer for example
        return "epsilon" if prediction is None else prediction
    if prediction not in (None, own):
        raise ValueError(f"prediction={shown(prediction)}, but the model predicts {own!r}; leave prediction out")
    return own


def _times(schedule: Schedule, steps: int, grid: str, *, denoise: bool) -> NDArray[np.float64]:
    if grid in grids.DISCRETE_GRIDS:
        times = grids.DISCRETE_GRIDS[grid](schedule, (steps if denoise else max(1, steps)) + 1)
        if not denoise and times[-2] != schedule.t_end:
            raise ValueError(
                f"grid={grid!r} without denoise ends in noise, at t={times[-2]!s}; use 'linspace' or denoise"
            )
        return times if denoise else times[:-1]
    if not denoise:
        return grids.GRIDS[grid](schedule, max(1, steps))
    if steps == 0:
        return grids.given(schedule, [schedule.t_max, schedule.t_zero])
    return grids.with_zero(schedule, grids.GRIDS[grid](schedule, steps))


def rebuild(name: str, schedule: Schedule, grid: ArrayLike, options: Mapping[str, object]) -> Plan:
    """Build from a recipe: the solver's function, these options and this grid; the plan's recipe has this name.

    Of the options "clip" belongs to no solver: it is as :func:`make_plan` says.
    """
    build = find(name).build
    clip, options = options.get("clip"), {key: value for key, value in options.items() if key != "clip"}
    known = [p.name for p in inspect.signature(build).parameters.values() if p.kind is p.KEYWORD_ONLY]
    if unknown := [key for key in options if key not in known]:
        raise ValueError(f"options: {name} has no {unknown[0]!r}; choose from {known}")
    plan = build(schedule, grid, **options)
    plan = plan if clip is None else clipped(plan, real(clip, "clip"))
    return plan if plan.recipe is None else replace(plan, recipe=replace(plan.recipe, solver=name))


def recipe_of(plan: Plan) -> Recipe:
    """The plan's recipe; ValueError where it has none, or one that makes another plan, as after an edit by hand."""
    recipe = plan.recipe
    if recipe is None:
        raise ValueError("plan: has no recipe to rebuild it from; make it with make_plan or a solver function")
    rebuilt = rebuild(recipe.solver, plan.schedule, recipe.grid, recipe.options)
    rebuilt = rebuilt if plan.guidance is None else rebuilt.guided(plan.guidance)
    if rebuilt != plan and not _is_older_form(plan, rebuilt):
        raise ValueError(
            f"plan: is not what its recipe ({recipe.solver}) makes, which would undo the changes; give a plan without "
            "changes, or build the changed one on the times that it is to run"
        )
    return recipe


def _is_older_form(plan: Plan, rebuilt: Plan) -> bool:
    """Whether a plan, of a file, differs only in that its rows of v, x0 and flow networks make no x0 of their own, or
    its analytic row has two terms where now is one; but for rounding it does the same.
    """
    described = (plan.init, plan.outputs, plan.quantity, len(plan.rows))
    alike = described == (rebuilt.init, rebuilt.outputs, rebuilt.quantity, len(rebuilt.rows))
    return alike and plan.rows != rebuilt.rows and all(map(_is_older_row, plan.rows, rebuilt.rows))


def _is_older_row(row: Row, rebuilt: Row) -> bool:
    if rebuilt.x0 is None and rebuilt.calls:
        return row == rebuilt
    aux = None if rebuilt.aux is None else replace(rebuilt.aux, y=rebuilt.aux.y[:1])
    x = replace(rebuilt.x, x=row.x.x, y=row.x.y)
    described = row in (rebuilt, replace(rebuilt, x=x, aux=aux, converted=rebuilt.converted[:1]))
    (before, terms), (now, _) = _sums(row), _sums(rebuilt)
    return described and bool(np.all(np.abs(before - now) <= _ROUNDING * terms))


def _sums(row: Row) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What multiplies the state and the outputs in the row's result, and the same without signs."""
    terms = np.array([[row.x.x, *(0.0 for _ in row.converted[0].q)]])
    of_y = np.array(
        [[weight * c.p, *(weight * q for q in c.q)] for weight, c in zip(row.x.y, row.converted, strict=True)]
    )
    terms = np.concatenate([terms, of_y])
    return terms.sum(axis=0), np.abs(terms).sum(axis=0)


def starting_at(plan: Plan, k: int) -> Plan:
    """The plan of the same recipe from its k-th time on, with its own warm-up (image to image).

    ValueError for a plan without a recipe, or changed since, and a k that is no step of the grid.
    """
    recipe, k = recipe_of(plan), integer(k, "k")
    if not 0 <= k < len(recipe.grid) - 1:
        raise ValueError(f"k={k}; the grid has {len(recipe.grid) - 1} steps, so k is 0..{len(recipe.grid) - 2}")
    rest = rebuild(recipe.solver, plan.schedule, recipe.grid[k:], recipe.options)
    return rest if plan.guidance is None else rest.guided(plan.guidance)


def _checked_options(solver: Solver, options: Mapping[str, object]) -> dict[str, object]:
    """The registered options and the caller's."""
    if not isinstance(options, Mapping):
        raise TypeError(f"options={options!r}: give a mapping such as {{'eta': 0.5}}")
    for argument in ("prediction", "clip"):
        if argument in options:
            raise ValueError(f"options: contains {argument!r}; pass make_plan(..., {argument}=...)")
    for key, fixed in solver.options.items():
        if options.get(key, fixed) != fixed:
            fix = f"choose another solver or call {solver.build.__name__}(schedule, grid, {key}={options[key]!r})"
            raise ValueError(f"options: {key}={options[key]!r}, but {solver.name} means {key}={fixed!r}; {fix}")
    return {**options, **solver.options}
