"""Well-conditioned rows: what float32 costs a plan is bounded by its terms, and these are small."""

from __future__ import annotations

from typing import Any

import pytest

from genie_samplers.schedules import Schedule
from genie_samplers.solvers import building, registry

from .conditioning import PREDICTIONS, SCHEDULES, cost, one_row_per_step, plan_of
from .plans import TABLES, recipe_of, unfit_too
from .products import pairs_first

HALF_UNIT = 2.0**-24  # half a unit in the last place of 1 in float32
PER_ROW = 10.0  # a row's terms, carried to the end, over the size of the data: its result, and two or three like it
GIVES_X0 = ("x0", "v", "flow")
REFUSED = ("ei_score", "ei_sde", "euler_maruyama", "euler_ode")
BETWEEN = [name for name in TABLES if not name.startswith("genie")]


def reads_little(name: str) -> bool:
    """Of one row per step, which reads one earlier value at most: polynomials of higher degree have weights that are
    large by themselves where steps are unequal.
    """
    plan = plan_of(name, SCHEDULES["vp_linear"], "epsilon")
    return one_row_per_step(plan) and max(len(row.history) for row in plan.rows) <= 1


LITTLE = [name for name in BETWEEN if name not in REFUSED and reads_little(name)]


def possible(solver: str, schedule: str, prediction: str) -> bool:
    limits = solver not in REFUSED and prediction != "epsilon"
    return limits or not SCHEDULES[schedule].starts_in_pure_noise


@unfit_too
@pairs_first(
    {
        "solver": {name: name for name in BETWEEN},
        "schedule": SCHEDULES,
        "prediction": {name: name for name in PREDICTIONS},
    },
    valid=possible,
)
@pytest.mark.each_value("schedule", "prediction")
def test_float32_errs_by_the_roundings_of_its_terms(solver: str, schedule: Schedule, prediction: str) -> None:
    """Every term is rounded as a coefficient, as a product and in each sum that it enters, and an output as well."""
    found = cost(plan_of(solver, schedule, prediction))
    assert found.error <= found.roundings * HALF_UNIT * found.terms


@pairs_first(
    {
        "solver": {name: name for name in LITTLE},
        "schedule": SCHEDULES,
        "prediction": {name: name for name in GIVES_X0},
    },
)
@pytest.mark.each_value("schedule", "prediction")
def test_the_terms_of_v_x0_and_flow_networks_are_of_the_size_of_the_data(
    solver: str, schedule: Schedule, prediction: str
) -> None:
    plan = plan_of(solver, schedule, prediction)
    found = cost(plan)
    assert found.terms <= PER_ROW * len(plan.rows) * found.size


# --- the numbers of the design: one step, in epsilon and in x0


def without_conditioning(monkeypatch: pytest.MonkeyPatch) -> None:
    def as_it_is(self: Any, time: float, x: float, weight: float, x0: float) -> tuple[float, float, float]:
        return x, weight, x0

    monkeypatch.setattr(building.PlanBuilder, "_conditioned", as_it_is)


@pytest.mark.parametrize("prediction", GIVES_X0)
@pytest.mark.parametrize("solver", ["ddim", "deis_tab1", "deis_log_ab2", "ipndm3"])
def test_rows_in_epsilon_alone_cost_digits_on_a_cosine_table(
    solver: str, prediction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(solver, SCHEDULES["squaredcos"], prediction)
    recipe = recipe_of(plan)
    without_conditioning(monkeypatch)
    good, bad = cost(plan), cost(registry.rebuild(recipe.solver, plan.schedule, recipe.grid, recipe.options))
    assert bad.terms > 20.0 * good.terms
    assert bad.error > 20.0 * good.error


@pytest.mark.parametrize("prediction", GIVES_X0)
@pytest.mark.parametrize("name", ["squaredcos", "zero_snr", "flow"])
def test_one_step_to_clean_data_is_its_x0(name: str, prediction: str) -> None:
    found = cost(plan_of("ddim", SCHEDULES[name], prediction, nfe=1))
    assert found.error <= 8.0 * HALF_UNIT * found.size
