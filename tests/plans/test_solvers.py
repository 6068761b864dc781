"""What the registry says of every solver; exactness and orders are in test_point_mass.py and test_orders.py."""

from __future__ import annotations

import re
from functools import cache

import numpy as np
import pytest

import genie_samplers as gs
from genie_samplers import Plan, grids, predictions
from genie_samplers.numerics import TABLEAUS
from genie_samplers.plan import Row
from genie_samplers.schedules import Schedule
from genie_samplers.solvers.registry import Solver, UnreachableNFE

from .oracle import execute
from .plans import NFE, TABLES, nfe_of, recipe_of, unfit_too
from .problems import SCHEDULES, VP
from .products import pairs_first

pytestmark = unfit_too
every_solver = pytest.mark.parametrize("solver", TABLES.values(), ids=TABLES.keys())
every_schedule = pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES.keys())
WAYS = {"default": {}, "denoise": {"denoise": True}, "to t_end": {"denoise": False}, "encode": {"direction": "encode"}}
MOST = 20  # evaluations

# Evaluations per step, and the evaluations that a solver with a start of its own can make on its way to t_end.
STAGES = {f"{family}_{name}": len(tableau.b) for family in ("deis_rho", "flow") for name, tableau in TABLEAUS.items()}
PER_STEP = {"edm_heun": 2, **STAGES}
TO_ZERO = {"flow_midpoint": 2, "flow_rk4": 3}  # in a step to gamma = 0
OWN_START = {"s_pndm": range(2, MOST + 1), "plms": range(2, MOST + 1), "f_pndm": [4, 8, *range(12, MOST + 1)]}
ROUNDINGS = 8 * np.finfo(np.float64).eps  # of a weight put for another and back
WARM_ROWS = {"s_pndm": 2, "plms": 4, "f_pndm": 12}


def can(solver: Solver, way: str) -> bool:
    return not (solver.stochastic and way == "encode")


def ends_at_zero(solver: Solver, way: str) -> bool:
    return way == "denoise" or (way == "default" and solver.denoise)


EVERY_WAY = [pytest.param(s, way, id=f"{s.name}-{way}") for s in TABLES.values() for way in WAYS if can(s, way)]
in_every_way = pytest.mark.parametrize(("solver", "way"), EVERY_WAY)


@cache
def made(name: str, way: str, nfe: int) -> Plan | str:
    """The plan, or the message that says it is out of reach."""
    try:
        return gs.make_plan(name, VP, nfe, **WAYS[way])
    except UnreachableNFE as error:
        return str(error)


def calls_made(name: str, way: str, nfe: int) -> int:
    plan, calls = made(name, way, nfe), list[int]()
    if isinstance(plan, str):
        raise AssertionError(plan)
    outputs = np.ones((len(plan.outputs), 1))
    execute(plan, np.ones(1), lambda row, _: calls.append(row) or outputs, np.ones((99, 1)))
    return len(calls)


def suggested(nfe: int, answer: Plan | str) -> int:
    if isinstance(answer, Plan):
        return answer.nfe
    found = re.fullmatch(rf"nfe={nfe}; \w+ makes (\d+) evaluations on this grid: ask for that number", answer)
    if found is None:
        raise AssertionError(f"names no number that works: {answer}")
    return int(found.group(1))


@in_every_way
@pytest.mark.each_value
def test_make_plan_makes_the_evaluations_asked_for_or_names_a_number_that_works(solver: Solver, way: str) -> None:
    answers = {nfe: made(solver.name, way, nfe) for nfe in range(1, MOST + 1)}
    numbers = {suggested(nfe, answer) for nfe, answer in answers.items()}
    assert {nfe: calls_made(solver.name, way, nfe) for nfe in numbers} == {nfe: nfe for nfe in numbers}


@in_every_way
@pytest.mark.each_value
def test_no_number_that_the_steps_can_make_is_refused(solver: Solver, way: str) -> None:
    step = PER_STEP.get(solver.name, 1)
    possible = set(OWN_START.get(solver.name, range(step, MOST + 1, step)))
    if ends_at_zero(solver, way):
        last = TO_ZERO.get(solver.name, 1)
        possible = {last, *(nfe + last for nfe in possible if nfe + last <= MOST)}
    assert {nfe for nfe in range(1, MOST + 1) if isinstance(made(solver.name, way, nfe), Plan)} == possible


@every_solver
def test_a_plan_has_draws_only_where_the_registry_says_stochastic(solver: Solver) -> None:
    assert gs.make_plan(solver.name, VP, nfe_of(solver.name), denoise=True).stochastic is solver.stochastic


@pytest.mark.parametrize("solver", [solver for solver in TABLES.values() if solver.stochastic], ids=lambda s: s.name)
def test_a_stochastic_solver_refuses_to_encode(solver: Solver) -> None:
    with pytest.raises(ValueError, match=r"on a rising grid; encoding is deterministic, so use \w+=0"):
        gs.make_plan(solver.name, VP, NFE, direction="encode")


@in_every_way
@pytest.mark.each_value
def test_the_default_grid_ends_where_it_should(solver: Solver, way: str) -> None:
    to_zero = ends_at_zero(solver, way)
    nfe = 12 + to_zero * TO_ZERO.get(solver.name, 1)
    first, *_, last = recipe_of(gs.make_plan(solver.name, VP, nfe, **WAYS[way])).grid
    ends = (VP.t_max, VP.t_zero if to_zero else VP.t_end)
    assert (first, last) == (ends[::-1] if way == "encode" else ends)


@pairs_first(
    {"solver": TABLES, "schedule": SCHEDULES, "grid": {name: name for name in grids.GRIDS}},
)
@pytest.mark.each_value
def test_a_plan_is_rebuilt_from_its_recipe_and_survives_json(solver: Solver, schedule: Schedule, grid: str) -> None:
    plan = gs.make_plan(solver.name, schedule, nfe_of(solver.name), grid=grid, denoise=True, prediction="v")
    assert recipe_of(plan).solver == solver.name
    assert plan.schedule == schedule
    assert gs.starting_at(Plan.from_json(plan.to_json()), 0) == plan


@every_solver
@pytest.mark.parametrize("prediction", predictions.PREDICTIONS)
@pytest.mark.each_value
def test_a_prediction_only_changes_how_outputs_are_read(solver: Solver, prediction: str) -> None:
    plan = gs.make_plan(solver.name, VP, nfe_of(solver.name), denoise=True, prediction=prediction)
    as_epsilon = gs.make_plan(solver.name, VP, nfe_of(solver.name), denoise=True)
    assert plan.outputs == (prediction, *as_epsilon.outputs[1:])
    ours, theirs = (np.array([of_state_and_epsilon(row) for row in p.rows]) for p in (plan, as_epsilon))
    assert np.all(np.abs(ours - theirs) <= ROUNDINGS * np.abs(theirs).max(axis=1, keepdims=True))
    assert [others(row) for row in plan.rows] == [others(row) for row in as_epsilon.rows]


def of_state_and_epsilon(row: Row) -> tuple[float, float]:
    """Weights of the state and of the prediction, with x0 = (x - sigma epsilon) / alpha for one that the row makes."""
    alpha, gamma = float(VP.alpha(row.time)), float(VP.gamma(row.time))
    own = row.x.y[row.x0] if row.x0 else 0.0
    return row.x.x + own / alpha, (row.x.y[0] if row.x.y else 0.0) - own * gamma


def others(row: Row) -> tuple[object, ...]:
    """What the row combines beside the state and its prediction."""
    derivatives = () if row.x0 else row.x.y[1:]
    return row.x.aux, derivatives, row.x.history, row.x.draws, row.aux and (row.aux.x, row.aux.aux, row.aux.history)


@every_solver
@pytest.mark.parametrize("start", [1, 3])
@pytest.mark.each_value
def test_a_plan_that_starts_later_ends_as_the_whole_one(solver: Solver, start: int) -> None:
    plan = gs.make_plan(solver.name, VP, 24 + TO_ZERO.get(solver.name, 1), denoise=True)  # 24: divides by 2, 3 and 4
    rest = gs.starting_at(plan, start)
    same = len(rest.rows) - warm_rows(rest, solver)
    assert recipe_of(rest).grid == recipe_of(plan).grid[start:]
    assert same > 0
    assert relative(rest)[-same:] == relative(plan)[-same:]


def warm_rows(plan: Plan, solver: Solver) -> int:
    """Rows before the history is full; a Runge-Kutta step needs none."""
    if solver.name in WARM_ROWS or any(row.reads_aux for row in plan.layout):
        return WARM_ROWS.get(solver.name, 0)
    history = [len(row.history) for row in plan.rows]
    return history.index(max(history))


def relative(plan: Plan) -> list[tuple[object, ...]]:
    """What every row does, its history by the times of the evaluations."""
    return [
        (s.time, s.x, s.aux, s.converted, [(plan.times[past.row], past.h) for past in s.history]) for s in plan.rows
    ]
