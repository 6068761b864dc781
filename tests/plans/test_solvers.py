"""The registry's claims, of every solver in it.

Not held: the global order under a warm-up without exact history, and the law of stochastic plans beyond a point mass.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

import genie_samplers as gs
from genie_samplers import Plan, grids, predictions, solvers
from genie_samplers.registry import Solver
from genie_samplers.schedules import Schedule

from .oracle import Array, execute, roundings
from .plans import recipe_of
from .problems import (
    DISCRETE,
    EDM,
    GOLDEN_MIXTURE,
    VP,
    X_T,
    network_of,
    prediction_of,
)

every_solver = pytest.mark.parametrize("solver", gs.SOLVERS.values(), ids=gs.SOLVERS.keys())
deterministic = [solver for solver in gs.SOLVERS.values() if not solver.stochastic]
exact_on_point_mass = pytest.mark.parametrize(
    "solver", [solver for solver in deterministic if solver.exact_on_point_mass], ids=lambda solver: solver.name
)
every_deterministic_solver = pytest.mark.parametrize("solver", deterministic, ids=lambda solver: solver.name)
every_prediction = pytest.mark.parametrize("prediction", predictions.PREDICTIONS)


def built(solver: Solver, schedule: Schedule, steps: int, grid: str = "karras", **options: object) -> Plan:
    times = grids.GRIDS[grid](schedule, steps)
    return solver.build(schedule, times, **{**solver.options, **options})


@exact_on_point_mass
@every_prediction
@pytest.mark.parametrize("steps", [1, 2, 5, 12])
@pytest.mark.parametrize("schedule", [VP, EDM, DISCRETE], ids=lambda s: s.name)
def test_point_mass_is_transported_exactly(solver: Solver, prediction: str, steps: int, schedule: Schedule) -> None:
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


NOISY: dict[str, Callable[[Schedule, NDArray[np.float64]], Plan]] = {
    "ddim-eta": lambda schedule, times: solvers.ddim(schedule, times, eta=0.5),
    "ddpm": lambda schedule, times: solvers.ddim(schedule, times, eta=1.0),
    "churn": lambda schedule, times: solvers.edm_heun(schedule, times, s_churn=3.0),
    "churn-window": lambda schedule, times: solvers.edm_heun(schedule, times, s_churn=9.0, s_min=0.05, s_max=5.0),
}


@pytest.mark.parametrize("build", NOISY.values(), ids=NOISY.keys())
@pytest.mark.parametrize("schedule", [VP, EDM, DISCRETE], ids=lambda s: s.name)
def test_stochastic_plans_keep_the_law_of_a_point_mass(
    build: Callable[[Schedule, NDArray[np.float64]], Plan], schedule: Schedule
) -> None:
    times = grids.power_gamma(schedule, 7)
    plan = build(schedule, times)
    assert plan.stochastic
    # a state is its coefficients of (the point, the first noise, the draws): x = a c + sigma z at every time
    point, noise, *draws = np.eye(2 + sum(len(row.draws) for row in plan.layout))

    def network(row: int, x: Array) -> list[Array]:
        t = plan.times[row]
        return [(x - schedule.alpha(t) * point) / schedule.sigma(t)]

    start = schedule.alpha(times[0]) * point + schedule.sigma(times[0]) * noise
    mean, *spread = execute(plan, start, network, draws)[-1]
    # v = x / a is of the order of the first gamma until the later rows take all but the last gamma of it away
    bound = roundings(plan) * np.finfo(np.float64).eps * schedule.alpha(times[-1]) * schedule.gamma(times[0])
    assert abs(mean - schedule.alpha(times[-1])) <= bound
    assert abs(np.hypot.reduce(spread) - schedule.sigma(times[-1])) <= bound
    assert np.count_nonzero(spread) > 1


@every_solver
@pytest.mark.parametrize("direction", ["sample", "encode"])
@pytest.mark.parametrize("nfe", [1, 2, 3, 7, 8, 20])
def test_make_plan_makes_the_evaluations_asked_for_or_says_how_many_it_can(
    solver: Solver, nfe: int, direction: str
) -> None:
    try:
        plan = gs.make_plan(solver.name, VP, nfe, direction=direction)
    except gs.registry.UnreachableNFE as error:
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


@every_deterministic_solver
@pytest.mark.parametrize("way", [1, -1], ids=["sample", "encode"])
def test_the_error_falls_with_the_declared_order(solver: Solver, way: int) -> None:
    coarse, fine = (grids.uniform_half_log_snr(VP, steps)[::way] for steps in (256, 512))
    slope = np.log2(error_with_exact_start(solver, coarse) / error_with_exact_start(solver, fine))
    # the slope nears the order like 1/steps: what is left is far below the 0.5 that would change it
    assert slope == pytest.approx(solver.order, abs=0.1)
