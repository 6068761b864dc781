"""The registry's claims, of every solver in it, and bad arguments.

Not held: the global order under a warm-up without exact history, and the law of
stochastic plans, whose coefficients are held instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import genie_samplers as gs
from genie_samplers import Plan, grids, predictions, solvers
from genie_samplers.registry import Solver
from genie_samplers.schedules import Schedule

from .oracle import Array, execute
from .plans import recipe_of
from .problems import (
    DISCRETE,
    EDM,
    GOLDEN_GRID,
    GOLDEN_MIXTURE,
    VP,
    X_T,
    network_of,
    prediction_of,
)

every_solver = pytest.mark.parametrize("solver", gs.SOLVERS.values(), ids=gs.SOLVERS.keys())
every_prediction = pytest.mark.parametrize("prediction", predictions.PREDICTIONS)


# --- the registry's claims


def built(solver: Solver, schedule: Schedule, steps: int, grid: str = "karras", **options: object) -> Plan:
    times = grids.GRIDS[grid](schedule, steps)
    return solver.build(schedule, times, **{**solver.options, **options})


@every_solver
@every_prediction
@pytest.mark.parametrize("steps", [1, 2, 5, 12])
@pytest.mark.parametrize("schedule", [VP, EDM, DISCRETE], ids=lambda s: s.name)
def test_point_mass_is_transported_exactly(solver: Solver, prediction: str, steps: int, schedule: Schedule) -> None:
    if not solver.exact_on_point_mass or solver.stochastic:
        pytest.skip("not claimed")
    point, noise = np.array([0.7, -2.0, 0.0, 1e-3]), np.array([1.3, 0.2, -1.9, 0.4])
    plan = built(solver, schedule, steps, prediction=prediction)
    times = [*plan.times, recipe_of(plan).grid[-1]]  # of every state, stages included

    def network(row: int, _: Array) -> list[Array]:
        return [prediction_of(prediction, schedule, times[row], point, noise)]

    start = schedule.alpha(times[0]) * point + schedule.sigma(times[0]) * noise
    states = execute(plan, start, network)
    exact = [schedule.alpha(t) * point + schedule.sigma(t) * noise for t in times]
    # what the same rows add up to without signs: the roundings are relative to it
    sums = execute(plan, np.abs(start), lambda *call: np.abs(network(*call)), table=np.abs(plan.table))
    assert np.all(np.abs(np.subtract(states, exact)) <= 1e-12 * np.array(sums))


@every_solver
def test_a_plan_has_draws_only_where_the_registry_says_stochastic(solver: Solver) -> None:
    assert gs.make_plan(solver.name, VP, 9).stochastic is solver.stochastic


@every_solver
@pytest.mark.parametrize("direction", ["sample", "encode"])
@pytest.mark.parametrize("nfe", [1, 2, 3, 7, 8, 20])
def test_make_plan_makes_the_evaluations_asked_for_or_says_how_many_it_can(
    solver: Solver, nfe: int, direction: str
) -> None:
    try:
        plan = gs.make_plan(solver.name, VP, nfe, direction=direction)
    except ValueError as error:
        possible = int(str(error).split(f"nfe={nfe}; {solver.name} makes ")[1].split()[0])
        plan, nfe = gs.make_plan(solver.name, VP, possible, direction=direction), possible
    calls: list[int] = []
    execute(plan, np.ones(1), lambda row, x: [calls.append(row) or x], np.ones((99, 1)))
    assert plan.nfe == len(calls) == nfe


@every_solver
def test_the_default_grid_ends_where_the_registry_says(solver: Solver) -> None:
    recipe = recipe_of(gs.make_plan(solver.name, VP, 9))
    assert recipe.grid[0] == VP.t_max
    assert recipe.grid[-1] == (VP.t_zero if solver.ends_at_zero else VP.t_end)


@every_solver
@pytest.mark.parametrize("grid", [None, "log_snr"])
def test_encoding_rises_from_t_end_to_t_max(solver: Solver, grid: str | None) -> None:
    plan = gs.make_plan(solver.name, VP, 8, direction="encode", grid=grid)
    times = recipe_of(plan).grid
    assert (times[0], times[-1]) == (VP.t_end, VP.t_max)
    assert sorted(times) == list(times)


@every_solver
@pytest.mark.parametrize("grid", grids.GRIDS)
def test_a_plan_is_rebuilt_from_its_recipe(solver: Solver, grid: str) -> None:
    plan = gs.make_plan(solver.name, VP, 9, grid=grid, prediction="v")
    assert recipe_of(plan).solver == solver.name
    assert plan.starting_at(0) == plan
    assert plan.schedule == VP


def error_with_exact_start(solver: Solver, grid: NDArray[np.float64]) -> float:
    """Largest error at the end; the states behind the history are put on the exact flow."""
    plan = solver.build(VP, grid, **solver.options)
    history = max(len(step.history) for step in plan.instructions)
    exact_rows = history if solver.evaluations_per_step == 1 else 0  # a Runge-Kutta stage needs no past step

    def replace(row: int, x: Array) -> Array:
        return GOLDEN_MIXTURE.flow(VP, X_T, grid[0], grid[row + 1]) if row < exact_rows else x

    reached = execute(plan, X_T, network_of(plan, GOLDEN_MIXTURE, VP), replace=replace)[-1]
    return float(np.abs(reached - GOLDEN_MIXTURE.flow(VP, X_T, grid[0], grid[-1])).max())


@every_solver
@pytest.mark.parametrize("way", [1, -1], ids=["sample", "encode"])
def test_the_error_falls_with_the_declared_order(solver: Solver, way: int) -> None:
    if solver.stochastic:
        pytest.skip("the order of a law, not of a path")
    coarse, fine = (grids.uniform_half_log_snr(VP, steps)[::way] for steps in (256, 512))
    slope = np.log2(error_with_exact_start(solver, coarse) / error_with_exact_start(solver, fine))
    # the slope nears the order like 1/steps: what is left is far below the 0.5 that would change it
    assert slope == pytest.approx(solver.order, abs=0.1)


# --- bad arguments


@every_solver
@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([1.0, 0.5, 0.5], r"times\[2\]=0.5 after 0.5: give times that all fall"),
        ([1.0, 0.4, 0.5], r"times\[2\]=0.5 after 0.4: give times that all fall"),
        ([1.0], r"times has shape \(1,\): give 2 or more"),
        ([[1.0, 0.5]], r"times has shape \(1, 2\): give 2 or more times in 1-D"),
        ([1.5, 0.5], r"t=1.5 is outside \[0.0, 1.0\]: take times from a grid"),
        ([1.0, float("nan")], r"t=nan is outside \[0.0, 1.0\]: take times"),
    ],
)
def test_a_grid_is_strictly_monotone_within_the_schedule(solver: Solver, times: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        solver.build(VP, times, **solver.options)


@every_solver
def test_an_unknown_prediction_is_refused(solver: Solver) -> None:
    with pytest.raises(ValueError, match=r"prediction='noise': choose one of .*'epsilon'"):
        gs.make_plan(solver.name, VP, 9, prediction="noise")


RISING = [1e-3, 0.5, 1.0]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: solvers.ddim(VP, GOLDEN_GRID, eta=-0.1), "eta=-0.1; need a finite number >= 0"),
        (lambda: solvers.ddim(VP, GOLDEN_GRID, eta=np.inf), "eta=inf; need a finite number >= 0"),
        (lambda: solvers.ddim(VP, GOLDEN_GRID, eta=np.nan), "eta=nan; need a finite number >= 0"),
        (
            lambda: solvers.ddim(VP, GOLDEN_GRID, eta=1.5),
            "eta=1.5 asks for more noise than .*; use eta <= 1",
        ),
        (lambda: solvers.ddim(VP, RISING, eta=0.5), "eta=0.5 on a rising grid; .*use eta=0"),
        (lambda: solvers.deis_tab(VP, GOLDEN_GRID, order=4), "order=4; choose 0, 1, 2 or 3"),
        (lambda: solvers.deis_tab(VP, GOLDEN_GRID, order=True), "order=True; choose 0, 1, 2 or 3"),
        (
            lambda: solvers.edm_heun(VP, GOLDEN_GRID, s_churn=-1.0),
            "s_churn=-1.0, .*need s_churn >= 0",
        ),
        (lambda: solvers.edm_heun(VP, GOLDEN_GRID, s_churn=np.inf), "s_churn=inf, .*both finite"),
        (lambda: solvers.edm_heun(VP, GOLDEN_GRID, s_noise=0.0), "s_noise=0.0; need .*s_noise > 0"),
        (
            lambda: solvers.edm_heun(VP, GOLDEN_GRID, s_min=2.0, s_max=1.0),
            "s_min=2.0, s_max=1.0; need 0 <= s_min <= s_max",
        ),
        (lambda: solvers.edm_heun(VP, GOLDEN_GRID, s_min=-2.0), "s_min=-2.0, .*need 0 <= s_min"),
        (
            lambda: solvers.edm_heun(VP, RISING, s_churn=1.0),
            "s_churn=1.0 on a rising grid; .*use s_churn=0",
        ),
        (lambda: gs.make_plan("dimm", VP, 9), "solver='dimm'; choose one of ddim, deis_tab0"),
        (lambda: gs.make_plan("ddim", VP, 9, grid="cubic"), "grid='cubic'; choose one of .*karras"),
        (
            lambda: gs.make_plan("ddim", VP, 9, direction="up"),
            "direction='up'; choose 'sample' or 'encode'",
        ),
        (lambda: gs.make_plan("ddim", VP, 0), "nfe=0; need at least 1"),
        (lambda: gs.make_plan("ddim", VP, -3), "nfe=-3; need at least 1"),
        (
            lambda: gs.make_plan("edm_heun", VP, 6),
            "nfe=6; edm_heun makes 5 evaluations on this grid: ask for that number",
        ),
    ],
)
def test_bad_options_are_refused_with_their_fix(build: Callable[[], Plan], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize("nfe", [True, 2.0, "3", None])
def test_nfe_is_an_integer(nfe: Any) -> None:
    with pytest.raises(TypeError, match=f"nfe={nfe!r}; need an integer"):
        gs.make_plan("ddim", VP, nfe)


def test_a_name_is_registered_once() -> None:
    with pytest.raises(ValueError, match="solver 'ddim' is registered twice"):
        gs.registry.register(gs.SOLVERS["ddim"])
