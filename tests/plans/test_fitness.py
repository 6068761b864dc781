"""A solver that makes no samples of a schedule is warned of, by name and with what to take instead."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

import genie_samplers as gs
from genie_samplers import Plan, UnfitWarning
from genie_samplers.schedules import Schedule
from genie_samplers.solvers import registry
from genie_samplers.solvers.fitness import misfit, spread_error

from .oracle import Array, execute
from .plans import recipe_of

TABLE = gs.schedules.from_betas(gs.schedules.scaled_linear_betas(1000))
COSINE = gs.schedules.from_betas(gs.schedules.squaredcos_betas(1000))
VP, EDM, FLOW, VE = gs.schedules.vp_linear(), gs.schedules.edm(), gs.schedules.flow(), gs.schedules.ve()
SCHEDULES = {"vp_linear": VP, "edm": EDM, "flow": FLOW, "ve": VE, "table": TABLE, "cosine": COSINE}
ONE_PER_STEP = [
    "ddim", "deis_tab1", "deis_tab2", "deis_tab3", "deis_log_ab1", "deis_log_ab2", "deis_log_ab3", "ipndm2", "ipndm3",
    "ipndm4", "unipc1", "dpmpp_1m", "flow_euler",
]  # fmt: skip
DEVIATION = 0.5

every_schedule = pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES.keys())


def deviation_of(plan: Plan, schedule: Schedule) -> float:
    """Of what a deterministic plan makes of Gaussian data of mean 0 and deviation 0.5, executed with numpy."""

    def network(row: int, x: Array) -> list[Array]:
        alpha, sigma = float(schedule.alpha(plan.times[row])), float(schedule.sigma(plan.times[row]))
        share = x / ((alpha * DEVIATION) ** 2 + sigma**2)
        return [alpha * sigma * share - sigma * alpha * DEVIATION**2 * share]  # v

    last = execute(plan, np.array([plan.init.scale]), network)[-1]
    return abs(float(last[0])) / float(schedule.alpha(recipe_of(plan).grid[-1]))


@pytest.mark.parametrize(
    ("name", "schedule", "nfe", "deviation"),
    [("f_pndm", COSINE, 13, 37.6), ("edm_heun", COSINE, 13, 1.22), ("edm_heun", EDM, 13, 0.782)],
    ids=["f_pndm-cosine", "edm_heun-cosine", "edm_heun-edm"],
)
def test_what_makes_no_samples_is_warned_of(name: str, schedule: Schedule, nfe: int, deviation: float) -> None:
    with pytest.warns(UnfitWarning, match=rf"^{name} with nfe={nfe} is unfit .* take 'auto'"):
        plan = gs.make_plan(name, schedule, nfe, prediction="v")
    assert deviation_of(plan, schedule) == pytest.approx(deviation, rel=0.01)


@pytest.mark.parametrize(
    ("name", "schedule", "nfe"),
    [
        ("deis_rho_heun", VE, 8), ("dpm_solver_2s", VP, 6), ("dpm_solver_3s", COSINE, 13), ("euler_ode", VE, 20),
        ("ei_score", EDM, 20), ("s_pndm", VP, 3), ("ei_sde", COSINE, 10), ("euler_maruyama", VE, 10),
    ],
)  # fmt: skip
def test_so_are_its_neighbours(name: str, schedule: Schedule, nfe: int) -> None:
    with pytest.warns(UnfitWarning):
        gs.make_plan(name, schedule, nfe, prediction="v")


@every_schedule
@pytest.mark.parametrize("name", ONE_PER_STEP)
@pytest.mark.parametrize("nfe", [2, 3, 4, 5, 8, 13, 20])
@pytest.mark.each_value
def test_few_steps_alone_are_no_reason(name: str, schedule: Schedule, nfe: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gs.make_plan(name, schedule, nfe, grid="uniform_t", prediction="v")


@every_schedule
@pytest.mark.parametrize("nfe", [1, 2, 4, 7, 13])
@pytest.mark.each_value
def test_the_solver_chosen_for_the_schedule_is_fit(schedule: Schedule, nfe: int) -> None:
    assert misfit(gs.make_plan("auto", schedule, nfe, prediction="v"), schedule) == ""


@pytest.mark.parametrize(("name", "nfe"), [("edm_heun", 5), ("f_pndm", 13), ("dpm_solver_2s", 6), ("dpmpp_2m", 5)])
def test_the_same_solvers_are_fit_on_a_table_of_moderate_noise(name: str, nfe: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gs.make_plan(name, TABLE, nfe)


@pytest.mark.parametrize(
    "arguments",
    [{"times": [999.0, 500.0, 200.0, -1.0]}, {"nfe": 5, "grid": "trailing"}, {"sigmas": [2e4, 3.0, 0.5, 0.0]}],
    ids=["times", "grid", "sigmas"],
)
def test_grids_of_ones_own_are_judged_too(arguments: Mapping[str, Any]) -> None:
    with pytest.warns(UnfitWarning):
        gs.make_plan("edm_heun", COSINE, prediction="v", **arguments)


def test_the_warning_points_at_the_callers_line_every_time() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gs.make_plan("f_pndm", COSINE, 13)
        gs.make_plan("f_pndm", COSINE, 13)
    assert [w.filename for w in caught] == [__file__, __file__]
    assert caught[0].lineno + 1 == caught[1].lineno


def test_the_warning_says_the_errors_of_the_solver_and_of_ddim() -> None:
    with pytest.warns(UnfitWarning) as caught:
        plan = gs.make_plan("edm_heun", EDM, 13)
    message = str(caught[0].message)
    ours, theirs = (float(found) for found in re.findall(r"[\d.]+(?= of the data's| with ddim)", message))
    ddim = registry.rebuild("ddim", EDM, recipe_of(plan).grid, {})
    assert ours == pytest.approx(spread_error(plan, EDM), rel=0.01)
    assert theirs == pytest.approx(spread_error(ddim, EDM), rel=0.05)


def test_the_error_is_that_of_the_executed_plan() -> None:
    plan = registry.rebuild("edm_heun", EDM, np.geomspace(80.0, 0.002, 8).tolist(), {"prediction": "v"})
    exact = plan.init.scale * math.hypot(DEVIATION, 0.002) / math.hypot(DEVIATION, 80.0)
    error = abs(deviation_of(plan, EDM) - exact) / DEVIATION
    assert spread_error(plan, EDM) == pytest.approx(error, rel=1e-9)


@pytest.mark.parametrize("arguments", [{"direction": "encode"}, {"clip": 1.0}], ids=["encoding", "clipping"])
def test_plans_that_encode_or_clip_are_not_judged(arguments: Mapping[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gs.make_plan("dpm_solver_2s", VP, 8, **arguments)
