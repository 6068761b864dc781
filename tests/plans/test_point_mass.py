"""Data of one point: which solvers sample it exactly, which do not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from unittest import mock

import numpy as np
import pytest

from genie_samplers import Plan, grids, predictions
from genie_samplers.schedules import Schedule
from genie_samplers.solvers import building, registry

from .oracle import Array, execute, roundings
from .plans import TABLES, recipe_of
from .problems import SCHEDULES, VP, outputs_of, prediction_of
from .products import pairs_first

EXACT = [name for name, solver in TABLES.items() if solver.exact_on_point_mass]
INEXACT = [name for name, solver in TABLES.items() if not solver.exact_on_point_mass]
VARIANTS: dict[str, tuple[str, Mapping[str, object]]] = {
    **{name: (name, {}) for name in EXACT},
    **{f"{name}-corrected": (name, {"warmup": "corrected"}) for name in ("deis_tab2", "deis_rho_ab1", "deis_log_ab3")},
    "ddim-eta": ("ddim", {"eta": 0.5}),
    "gddim-0.3": ("gddim", {"noise_scale": 0.3}),
    "gddim-1.7": ("gddim", {"noise_scale": 1.7}),
    "dpmpp_2m_sde-0.4": ("dpmpp_2m_sde", {"eta": 0.4}),
    "dpmpp_3m-published": ("dpmpp_3m", {"variant": "published"}),
    "unipc3-bh1": ("unipc3", {"variant": "bh1"}),
    "genie_hermite4-head": ("genie_hermite4", {"derivative": "head", "derivative_below": None}),
    "genie_hermite4-x0": ("genie_hermite4", {"quantity": "x0"}),
    "genie_ttm2-log_gamma": ("genie_ttm2", {"variable": "log_gamma"}),
    "genie_ttm3-everywhere": ("genie_ttm3", {"derivative_below": None}),
    "edm_heun-churn": ("edm_heun", {"s_churn": 3.0}),
    "edm_heun-churn-window": ("edm_heun", {"s_churn": 9.0, "s_min": 0.05, "s_max": 5.0}),
}
every_schedule = pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES.keys())
every_prediction = pytest.mark.parametrize("prediction", predictions.PREDICTIONS)


def built(variant: str, schedule: Schedule, steps: int, prediction: str = "epsilon") -> Plan:
    name, options = VARIANTS.get(variant, (variant, {}))
    chosen = {**TABLES[name].options, **options, "prediction": prediction}
    return registry.rebuild(name, schedule, grids.power_gamma(schedule, steps), chosen)


DETERMINISTIC = [variant for variant in VARIANTS if not built(variant, VP, 5).stochastic]
STOCHASTIC = [variant for variant in VARIANTS if variant not in DETERMINISTIC]


def assert_on_the_flow(plan: Plan) -> None:
    """Every state, stages included: alpha point + sigma noise."""
    schedule = plan.schedule
    point, noise = np.array([0.7, -2.0, 0.0, 1e-3]), np.array([1.3, 0.2, -1.9, 0.4])
    times = [*plan.times, recipe_of(plan).grid[-1]]

    def network_for(form: Plan) -> Callable[[int, Array], list[Array]]:
        nothing = (0.0 * noise,) * 2
        return lambda row, _: outputs_of(form.outputs, schedule, times[row], point, noise, derivatives=nothing)

    exact = [float(schedule.alpha(t)) * point + float(schedule.sigma(t)) * noise for t in times]
    states = execute(plan, exact[0], network_for(plan))
    # what the same rows add up to without signs: the roundings are relative to it. A row in x0 is made of one in
    # epsilon, with the roundings of that
    forms = [plan, in_epsilon(plan)]
    sums = [unsigned_sums(form, np.abs(exact[0]), network_for(form)) for form in forms]
    assert np.all(np.abs(np.subtract(states, exact)) <= 1e-12 * np.max(sums, axis=0))


def in_epsilon(plan: Plan) -> Plan:
    """The same plan with its rows in epsilon alone."""
    recipe = recipe_of(plan)
    with mock.patch.object(building.PlanBuilder, "_conditioned", lambda _, time, x, weight, x0: (x, weight, x0)):
        return registry.rebuild(recipe.solver, plan.schedule, recipe.grid, recipe.options)


def unsigned_sums(plan: Plan, start: Array, network: Callable[[int, Array], list[Array]]) -> Array:
    return np.array(execute(plan, start, lambda *call: np.abs(network(*call)), table=np.abs(plan.table)))


def law(plan: Plan) -> tuple[float, float]:
    """Mean (of a point at 1) and deviation of the last state.

    A state is its coefficients of (the point, the first noise, the draws), and the network answers as it must for it.
    """
    schedule, grid = plan.schedule, recipe_of(plan).grid
    point, noise, *draws = np.eye(2 + sum(len(row.draws) for row in plan.layout))

    def network(row: int, x: Array) -> list[Array]:
        t = plan.times[row]
        epsilon = (x - float(schedule.alpha(t)) * point) / float(schedule.sigma(t))
        return [prediction_of(plan.outputs[0], schedule, t, point, epsilon)]

    start = float(schedule.alpha(grid[0])) * point + float(schedule.sigma(grid[0])) * noise
    mean, *spread = execute(plan, start, network, draws)[-1]
    return float(mean), float(np.hypot.reduce(spread))


def assert_exact_in_law(plan: Plan) -> None:
    schedule, grid = plan.schedule, recipe_of(plan).grid
    alpha, sigma = float(schedule.alpha(grid[-1])), float(schedule.sigma(grid[-1]))
    highest = max(gamma for gamma in schedule.gamma(grid).tolist() if np.isfinite(gamma))
    # v = x / alpha is of the order of the first finite gamma until later rows take all but the last gamma of it away
    bound = roundings(plan) * np.finfo(np.float64).eps * alpha * highest
    assert law(plan) == pytest.approx((alpha, sigma), rel=0, abs=bound)


@pytest.mark.parametrize("variant", DETERMINISTIC)
@every_schedule
@pytest.mark.each_value
def test_a_point_is_transported_exactly_on_every_schedule(variant: str, schedule: Schedule) -> None:
    assert_on_the_flow(built(variant, schedule, 5))


@pairs_first(
    {
        "variant": {variant: variant for variant in DETERMINISTIC},
        "steps": {"1": 1, "2": 2, "12": 12},
        "prediction": {name: name for name in predictions.PREDICTIONS},
    }
)
@pytest.mark.each_value
def test_a_point_is_transported_exactly_from_every_prediction(variant: str, prediction: str, steps: int) -> None:
    assert_on_the_flow(built(variant, VP, steps, prediction))


@pytest.mark.parametrize("variant", STOCHASTIC)
@every_schedule
@pytest.mark.each_value
def test_the_law_of_a_point_is_kept_on_every_schedule(variant: str, schedule: Schedule) -> None:
    assert_exact_in_law(built(variant, schedule, 7))


@pytest.mark.parametrize("variant", STOCHASTIC)
@every_prediction
@pytest.mark.each_value
def test_the_law_of_a_point_is_kept_from_every_prediction(variant: str, prediction: str) -> None:
    assert_exact_in_law(built(variant, VP, 12, prediction))


@pytest.mark.parametrize("name", INEXACT)
@pytest.mark.parametrize("steps", [5, 12])
def test_other_solvers_miss_the_point(name: str, steps: int) -> None:
    plan = built(name, VP, steps)
    sigma = float(VP.sigma(recipe_of(plan).grid[-1]))
    assert abs(law(plan)[1] - sigma) > 0.01 * sigma
