"""Analytic-DPM on Gaussian data, where every marginal is known (specification 6, item 13)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import genie_samplers as gs
from genie_samplers import Plan
from genie_samplers.schedules import Schedule

from .exact_weights import COARSE_TABLE
from .plans import unfit_too
from .weak_orders import Law, reached_law

# DDPM's 1000 steps: beta from 1e-4 to 2e-2
TABLE = gs.schedules.from_betas(gs.schedules.linear_betas())
SCHEDULES = {
    "table": TABLE,
    "short table": gs.schedules.from_alphas_cumprod(COARSE_TABLE),
    "vp_linear": gs.schedules.vp_linear(),
    "sub_vp": gs.schedules.sub_vp(),
    "ve": gs.schedules.ve(),
    "edm": gs.schedules.edm(),
}
GRID = (999.0, 800.0, 600.0, 300.0, 20.0, 0.0)
GRID_TO_ZERO = (*GRID, TABLE.t_zero)
EPS = float(np.finfo(np.float64).eps)
both = pytest.mark.parametrize("name", ["analytic_ddpm", "analytic_ddim"])


def statistics(schedule: Schedule, variance: float, nodes: int = 5) -> dict[str, Any]:
    """ms_eps of Gaussian data at a few times."""
    times = np.linspace(schedule.t_end, schedule.t_max, nodes)
    gamma = schedule.gamma(times)
    return {"times": times, "ms_eps": gamma**2 / (variance + gamma**2)}


def deviations(plan: Plan) -> np.ndarray:
    """Of the noise that each row draws."""
    return np.array([row.x.draws[0] if row.draws else 0.0 for row in plan.rows])


def variance_made(plan: Plan, schedule: Schedule, variance: float) -> float:
    t = plan.times[0]
    start = Law(0.0, float(schedule.alpha(t)) ** 2 * variance + float(schedule.sigma(t)) ** 2)
    return reached_law(plan, schedule, start, t, 0.0, math.sqrt(variance)).variance


def rounding(plan: Plan, schedule: Schedule, variance: float) -> float:
    """1 - ms_eps cancels: at the first time to eps of gamma^2 / variance of it, and one step leaves all of that."""
    return 4 * EPS * (float(schedule.gamma(plan.times[0])) ** 2 / variance + 20 * len(plan.rows))


@both
@unfit_too
@pytest.mark.parametrize("steps", [1, 2, 10, 50])
@pytest.mark.parametrize("variance", [0.05, 0.3, 1.5])
@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.each_value
def test_gaussian_data_are_made_exactly_at_any_number_of_steps(
    schedule: Schedule, variance: float, steps: int, name: str
) -> None:
    options = {**statistics(schedule, variance), "noise_at_zero": True}
    plan = gs.make_plan(name, schedule, steps, grid="karras", denoise=True, options=options)
    assert abs(variance_made(plan, schedule, variance) / variance - 1.0) <= rounding(plan, schedule, variance)


@both
def test_a_thousand_steps_are_exact_too(name: str) -> None:
    options = {**statistics(TABLE, 0.3), "noise_at_zero": True}
    plan = gs.make_plan(name, TABLE, 1000, grid="trailing", options=options)
    assert abs(variance_made(plan, TABLE, 0.3) / 0.3 - 1.0) <= 2e-13


@both
@pytest.mark.parametrize("t", [900.0, 400.0, 90.0, 3.0])
def test_the_marginal_of_every_time_is_exact(t: float, name: str) -> None:
    options = {**gs.SOLVERS[name].options, **statistics(TABLE, 0.3)}
    plan = gs.solvers.analytic(TABLE, (999.0, 950.0, t), **options)
    exact = float(TABLE.alpha(t)) ** 2 * 0.3 + float(TABLE.sigma(t)) ** 2
    assert abs(variance_made(plan, TABLE, 0.3) / exact - 1.0) <= rounding(plan, TABLE, 0.3)


@pytest.mark.parametrize(
    ("variance", "steps", "ratio"),
    [
        (0.05, 10, 0.2704), (0.05, 50, 0.7927), (0.05, 1000, 0.9868),
        (0.3, 10, 0.5474), (0.3, 50, 0.8977), (0.3, 1000, 0.9944),
        (1.5, 10, 0.6864), (1.5, 50, 0.9337), (1.5, 1000, 0.9966),
    ],
)  # fmt: skip
def test_ddim_without_the_variance_ends_below_the_data(variance: float, steps: int, ratio: float) -> None:
    indices = [round(k * 999 / (steps - 1)) for k in range(steps)]  # tau_k, from 0
    times = [*(float(i) for i in reversed(indices)), TABLE.t_zero]
    plan = gs.solvers.analytic(TABLE, times, eta=0.0)
    assert round(variance_made(plan, TABLE, variance) / variance, 4) == ratio


@both
def test_variances_lie_between_ddims_and_that_of_a_network_that_knows_nothing(name: str) -> None:
    """lambda^2 <= s^2 <= lambda^2 + (sigma a'/a - sqrt(sigma'^2 - lambda^2))^2."""
    measured: list[dict[str, Any]] = [{}, *({"times": (300.0,), "ms_eps": (ms,)} for ms in (0.4, 1e-12))]
    least, found, largest = (
        deviations(gs.solvers.analytic(TABLE, GRID, **gs.SOLVERS[name].options, **options)) for options in measured
    )
    assert np.all(least <= found)
    assert np.all(found <= largest)


def same_rows(plan: Plan, other: Plan) -> bool:
    return plan.rows == other.rows


def test_without_statistics_it_is_ddpm_and_ddim() -> None:
    assert same_rows(gs.make_plan("analytic_ddpm", TABLE, 12), gs.make_plan("ddpm", TABLE, 12))
    assert same_rows(gs.make_plan("analytic_ddim", TABLE, 12), gs.make_plan("ddim", TABLE, 12))


def test_a_plan_without_statistics_says_so() -> None:
    assert "without measured ms_eps" in str(gs.make_plan("analytic_ddpm", TABLE, 12, grid="trailing"))
    assert "without measured ms_eps" in str(gs.make_plan("analytic_ddpm", TABLE, 12))  # beside how it was chosen
    measured = gs.make_plan("analytic_ddpm", TABLE, 12, grid="trailing", options=statistics(TABLE, 0.3))
    assert "without measured ms_eps" not in str(measured)
    bound = gs.make_plan("analytic_ddpm", TABLE, 12, grid="trailing", options={"pixel_levels": 1.0})
    assert "the steps of ddpm or ddim, but for pixel_levels" in str(bound)


@pytest.mark.parametrize("ms_eps", [1.0, 1.02])
def test_a_statistic_of_one_or_more_adds_nothing(ms_eps: float) -> None:
    options = {"times": (500.0,), "ms_eps": (ms_eps,)}
    assert same_rows(gs.make_plan("analytic_ddpm", TABLE, 12, options=options), gs.make_plan("ddpm", TABLE, 12))


def test_the_last_noise_is_bounded_in_pixel_levels() -> None:
    options = statistics(TABLE, 0.3)
    free = gs.solvers.analytic(TABLE, GRID_TO_ZERO, **options)
    bound = gs.solvers.analytic(TABLE, GRID_TO_ZERO, **options, pixel_levels=2)
    assert np.array_equal(deviations(free)[:-2], deviations(bound)[:-2])
    assert deviations(bound)[-2:].tolist() == [2 * (2 / 255 * math.sqrt(math.pi / 2)), 0.0]  # the step to gamma = 0
    assert deviations(free)[-2] > deviations(bound)[-2]


def test_the_posterior_variance_is_bounded() -> None:
    options = statistics(TABLE, 1.5)
    plan = gs.solvers.analytic(TABLE, GRID, eta=0.0, **options, most=0.5)
    share = TABLE.alpha(GRID[1:]) - TABLE.sigma(GRID[1:]) / TABLE.gamma(GRID[:-1])
    gamma = TABLE.gamma(GRID[:-1])
    expected = share * np.sqrt(np.minimum(0.5, 1.5 * gamma**2 / (1.5 + gamma**2)))
    assert deviations(plan) == pytest.approx(expected, rel=1e-9)


def test_the_rest_of_a_plan_keeps_the_statistics() -> None:
    plan = gs.make_plan("analytic_ddpm", TABLE, 10, options={**statistics(TABLE, 0.3), "pixel_levels": 1.0})
    rest = gs.starting_at(Plan.from_json(plan.to_json()), 4)
    assert [row.x for row in rest.rows] == [row.x for row in plan.rows[4:]]


def test_a_step_from_pure_noise_draws_the_data() -> None:
    flow = gs.schedules.flow()
    plan = gs.solvers.analytic(flow, [1.0, 0.5], eta=0.0, times=(0.5,), ms_eps=(1.0 / 1.3,), prediction="x0")
    assert plan.rows[0].x.draws[0] == pytest.approx(0.5 * math.sqrt(0.3), rel=1e-14)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eta": -1.0}, "eta=-1.0; need a finite number >= 0"),
        ({"times": (1.0,)}, "times, ms_eps: give both, what calibrate.analytic measured, or none"),
        ({"times": (1.0, 2.0), "ms_eps": (0.5,)}, r"times has shape \(2,\), ms_eps \(1,\); need one number for each"),
        ({"times": (), "ms_eps": ()}, "times has shape .*; need one number for each time"),
        ({"times": (1.0,), "ms_eps": (0.0,)}, "ms_eps: from 0.0 to 0.0; need positive finite numbers"),
        ({"times": (1.0,), "ms_eps": (math.nan,)}, "ms_eps: from nan to nan; need positive finite numbers"),
        ({"times": (1.0, 1.0), "ms_eps": (0.5, 0.6)}, "times: need different ones, none at gamma = 0"),
        ({"times": (TABLE.t_zero,), "ms_eps": (0.5,)}, "times: need different ones, none at gamma = 0"),
        ({"times": (1000.5,), "ms_eps": (0.5,)}, r"t=1000.5 is outside"),
        ({"most": 0.0}, "most=0.0; give a positive finite number, or None"),
        ({"pixel_levels": -1.0}, "pixel_levels=-1.0; give a positive finite number, or None"),
    ],
)
def test_bad_options_are_refused_with_the_fix(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gs.solvers.analytic(TABLE, GRID, **options)


def test_encoding_with_statistics_is_refused() -> None:
    with pytest.raises(ValueError, match="ms_eps: on a rising grid; encoding is deterministic"):
        gs.solvers.analytic(TABLE, GRID[::-1], eta=0.0, times=(1.0,), ms_eps=(0.5,))
