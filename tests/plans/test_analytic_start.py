"""The analytic first step: where it is taken, what it saves, and that it survives recipes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import genie_samplers as gs
from genie_samplers import Plan, grids, predictions, solvers
from genie_samplers.schedules import Schedule

from .oracle import execute
from .plans import recipe_of
from .problems import DISCRETE, GOLDEN_MIXTURE, SCHEDULES, VP, X_T, network_of

WITH_START = ("genie_ttm2", "genie_ttm3", "genie_hermite3", "genie_hermite4", "genie_hermite")
every_name = pytest.mark.parametrize("name", WITH_START)
every_schedule = pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES.keys())


def with_start(name: str, nfe: int, schedule: Schedule = VP, *, denoise: bool = False, **options: Any) -> Plan:
    return gs.make_plan(name, schedule, nfe, denoise=denoise, options={"afs": True, **options})


@every_name
@pytest.mark.parametrize("denoise", [True, False])
@pytest.mark.parametrize("nfe", [1, 2, 7])
def test_the_step_saved_is_made_at_the_end_of_the_budget(name: str, denoise: bool, nfe: int) -> None:
    """NFE = steps - 1, and the step to gamma = 0 costs one."""
    plan = with_start(name, nfe, denoise=denoise)
    assert [row.calls for row in plan.rows] == [0, *[1] * nfe]
    assert plan.nfe == nfe
    assert len(recipe_of(plan).grid) == nfe + 2


@every_schedule
@pytest.mark.parametrize("quantity", ["epsilon", "x0"])
def test_the_first_step_takes_the_normalised_state_for_its_noise(schedule: Schedule, quantity: str) -> None:
    times = grids.power_gamma(schedule, 3)
    plan = solvers.genie_ttm2(schedule, times, afs=True, variable="log_gamma", quantity=quantity, derivative="exact")
    alpha, sigma, change = schedule.alpha(times), schedule.sigma(times), schedule.gamma_change(times[0], times[1])
    noise = X_T / np.hypot(alpha[0], sigma[0])
    expected = alpha[1] / alpha[0] * X_T + alpha[1] * change * noise
    # the x0 of this noise is 1/gamma of it, which is lost where alpha = 1 and x is of the order of gamma
    scale = np.abs(alpha[1] / alpha[0] * X_T) + np.abs(alpha[1] * change * noise)
    reached = execute(plan, X_T, network_of(plan, GOLDEN_MIXTURE, schedule))[1]
    assert np.all(np.abs(reached - expected) <= 16.0 * np.finfo(np.float64).eps * scale)


@every_name
def test_a_plan_that_starts_later_asks_the_network(name: str) -> None:
    plan = with_start(name, 6)
    later = gs.starting_at(plan, 1)
    assert (recipe_of(later).options["afs"], later.rows[0].calls) == (True, 1)
    assert later.nfe == 6


@every_name
@pytest.mark.parametrize("prediction", predictions.PREDICTIONS)
def test_the_recipe_holds_the_analytic_start(name: str, prediction: str) -> None:
    plan = gs.make_plan(name, VP, 6, prediction=prediction, options={"afs": True})
    assert gs.starting_at(Plan.from_json(plan.to_json()), 0) == plan


@every_name
def test_a_guided_plan_starts_alike(name: str) -> None:
    plan = with_start(name, 6).guided(2.0)
    assert (plan.nfe, plan.network_calls) == (6, 12)


def test_the_first_step_has_no_derivative_for_those_after_it() -> None:
    plan = with_start("genie_hermite4", 6, derivative_below=None)
    assert [len(row.converted) for row in plan.rows] == [1, *[2] * 6]
    assert [past.h for past in plan.rows[1].history] == [0]


@every_name
def test_encoding_has_no_analytic_start(name: str) -> None:
    with pytest.raises(ValueError, match=r"afs=True on a rising grid; encoding starts from data.*use afs=False"):
        gs.make_plan(name, VP, 6, direction="encode", options={"afs": True})


def test_a_grid_that_starts_below_the_noise_has_no_analytic_start() -> None:
    with pytest.raises(ValueError, match=r"afs=True on grid='leading', which starts at t=.*choose one .* at t_max"):
        gs.make_plan("genie_ttm2", DISCRETE, 6, grid="leading", options={"afs": True})


@pytest.mark.parametrize("afs", [1, "yes", None])
def test_afs_is_a_boolean(afs: Any) -> None:
    with pytest.raises(TypeError, match=f"afs={afs!r}: give True or False"):
        gs.make_plan("genie_ttm2", VP, 6, options={"afs": afs})


def test_a_solver_without_an_analytic_start_says_so() -> None:
    with pytest.raises(ValueError, match="options: ddim has no 'afs'"):
        gs.make_plan("ddim", VP, 6, options={"afs": True})
