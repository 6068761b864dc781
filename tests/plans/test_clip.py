"""Clipped plans against their definition: every x0 prediction turned to x0, clamped, and turned back."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import genie_samplers as gs
from genie_samplers import Plan, grids, predictions
from genie_samplers.schedules import Schedule
from genie_samplers.solvers import registry
from genie_samplers.solvers.clipping import clipped

from .oracle import execute
from .plans import NFE, TABLES, nfe_of, recipe_of
from .problems import SCHEDULES, VP, X_T, prediction_of

Array = NDArray[np.float64]
CLIP = 0.75

CLIPPABLE = sorted(name for name in TABLES if not name.startswith("genie"))
every_clippable = pytest.mark.parametrize("name", CLIPPABLE)


def made(name: str, schedule: Schedule = VP, clip: float | None = CLIP, **arguments: Any) -> Plan:
    return gs.make_plan(name, schedule, nfe_of(name), **({"denoise": True, "clip": clip} | arguments))


def network_of(plan: Plan, clip: float = math.inf) -> Callable[[int, Array], list[Array]]:
    """Predicts x0 = 2 sin(row + place), often beyond the clip, whatever the state; ``clip`` clamps it."""

    def network(row: int, x: Array) -> list[Array]:
        t, schedule = plan.times[row], plan.schedule
        alpha, sigma = float(schedule.alpha(t)), float(schedule.sigma(t))
        x0 = np.clip(2.0 * np.sin(row + np.arange(x.size)), -clip, clip)
        return [prediction_of(plan.outputs[0], schedule, t, x0, (x - alpha * x0) / sigma)]

    return network


def error(plan: Plan, unclipped: Plan) -> float:
    """The largest over all states, relative to the largest entry of any; x_T and draws are of their usual size."""
    start = plan.init.scale * X_T
    draws = np.random.default_rng(3).standard_normal((sum(len(row.draws) for row in plan.rows), X_T.size))
    ours = np.stack(execute(plan, start, network_of(plan), draws))
    defined = np.stack(execute(unclipped, start, network_of(unclipped, CLIP), draws))
    return float(np.abs(ours - defined).max() / np.abs(defined).max())


def bound(schedule: Schedule) -> float:
    """64 roundings, of terms gamma times as large as their sum: so an epsilon form loses digits, unclipped too."""
    return 64 * 2.0**-52 * max(1.0, float(schedule.gamma(schedule.t_max)))


@every_clippable
def test_a_clipped_plan_is_the_plan_of_a_network_whose_x0_is_clamped(name: str) -> None:
    assert error(made(name), made(name, clip=None)) <= bound(VP)


@pytest.mark.parametrize("name", ["ddpm", "deis_tab3", "dpm_solver_3s", "unipc2"])
@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES.keys())
@pytest.mark.each_value
def test_it_is_so_on_every_schedule(name: str, schedule: Schedule) -> None:
    assert error(made(name, schedule), made(name, schedule, clip=None)) <= bound(schedule)


@pytest.mark.parametrize("name", ["ipndm3", "edm_heun", "dpmpp_2m"])
@pytest.mark.parametrize("prediction", predictions.PREDICTIONS)
def test_it_is_so_for_every_prediction(name: str, prediction: str) -> None:
    plans = [made(name, clip=clip, prediction=prediction) for clip in (CLIP, None)]
    assert error(plans[0], plans[1]) <= bound(VP)


@pytest.mark.parametrize("name", ["deis_log_ab2", "deis_rho_kutta3", "dpmpp_3m"])
def test_it_is_so_of_a_plan_that_encodes(name: str) -> None:
    plans = [gs.make_plan(name, VP, 12, clip=clip, direction="encode") for clip in (CLIP, None)]
    assert plans[0].rising
    assert error(plans[0], plans[1]) <= bound(VP)


def test_it_is_so_with_churn_and_with_an_analytic_first_step() -> None:
    with pytest.warns(gs.UnfitWarning):  # with so few evaluations, and without a clamp
        churned = [made("edm_heun", clip=clip, options={"s_churn": 3.0}) for clip in (CLIP, None)]
    assert error(churned[0], churned[1]) <= bound(VP)
    times = grids.power_gamma(VP, 5)
    options = {"values": 3, "derivatives": 0, "afs": True, "prediction": "epsilon"}
    analytic = [registry.rebuild("genie_hermite", VP, times, {**options, **extra}) for extra in ({"clip": CLIP}, {})]
    assert error(analytic[0], analytic[1]) <= bound(VP)


# --- written by hand


def scales_of(times: Array) -> list[tuple[float, float]]:
    return [(float(VP.alpha(t)), float(VP.sigma(t))) for t in times]


def network(x: Array, alpha: float, sigma: float) -> tuple[Array, Array]:
    """A prediction of epsilon, and the clamped x0 of it."""
    out = np.cos(3.0 * x)
    return out, np.clip((x - sigma * out) / alpha, -CLIP, CLIP)


def by_hand_ddim(times: Array) -> Array:
    x, scales = X_T * float(VP.sigma(times[0])), scales_of(times)
    for (alpha, sigma), (alpha_next, sigma_next) in itertools.pairwise(scales):
        _, x0 = network(x, alpha, sigma)
        x = alpha_next * x0 + sigma_next * (x - alpha * x0) / sigma
    return x


def by_hand_ipndm2(times: Array) -> Array:
    """Two noise predictions, each of a clamped x0: 3/2 of the newest less 1/2 of the one before."""
    x, scales, past = X_T * float(VP.sigma(times[0])), scales_of(times), list[Array]()
    for (alpha, sigma), (alpha_next, sigma_next) in itertools.pairwise(scales):
        _, x0 = network(x, alpha, sigma)
        past.append((x - alpha * x0) / sigma)
        epsilon = past[-1] if len(past) == 1 else 1.5 * past[-1] - 0.5 * past[-2]
        x = alpha_next / alpha * x + (sigma_next - alpha_next / alpha * sigma) * epsilon
    return x


def by_hand_dpmpp_2m(times: Array) -> Array:
    x, scales, past = X_T * float(VP.sigma(times[0])), scales_of(times), list[Array]()
    lambdas = [math.log(alpha / sigma) if sigma else math.inf for alpha, sigma in scales]
    for n, ((alpha, sigma), (alpha_next, sigma_next)) in enumerate(itertools.pairwise(scales)):
        past.append(network(x, alpha, sigma)[1])
        x0, h = past[-1], lambdas[n + 1] - lambdas[n]
        if 0 < n < len(times) - 2:  # lower_order_final
            x0 = x0 + 0.5 * h / (lambdas[n] - lambdas[n - 1]) * (past[-1] - past[-2])
        x = sigma_next / sigma * x - alpha_next * math.expm1(-h) * x0
    return x


BY_HAND = {"ddim": by_hand_ddim, "ipndm2": by_hand_ipndm2, "dpmpp_2m": by_hand_dpmpp_2m}


@pytest.mark.parametrize("name", BY_HAND)
def test_states_are_those_of_a_loop_written_by_hand(name: str) -> None:
    plan = made(name, grid="karras")
    states = execute(plan, X_T * plan.init.scale, lambda _, x: [np.cos(3.0 * x)])
    assert states[-1] == pytest.approx(BY_HAND[name](np.array(recipe_of(plan).grid)), rel=1e-9, abs=1e-9)


# --- samples


@pytest.mark.parametrize("name", ["ddim", "ddpm", "dpmpp_1m", "deis_rho_heun", "edm_heun", "gddim"])
@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES.keys())
@pytest.mark.each_value
def test_a_last_step_of_order_1_to_gamma_0_ends_in_the_clamped_prediction(name: str, schedule: Schedule) -> None:
    last = made(name, schedule).rows[-1]
    assert last.x.x == 0.0
    assert last.x.y == pytest.approx([1.0], rel=1e-14)


@pytest.mark.parametrize("name", ["ddim", "dpmpp_1m", "ddpm"])
def test_samples_stay_within_the_clip(name: str) -> None:
    x = gs.sample(lambda x, t: torch.cos(30.0 * x), made(name, clip=1.0), shape=(8, 3), dtype=torch.float32)
    assert x.abs().max() == 1.0


@pytest.mark.parametrize("name", ["deis_tab2", "dpmpp_2m"])
def test_predicted_x0_is_the_clamped_one(name: str) -> None:
    seen = list[float]()

    def record(event: gs.RowEvent) -> None:
        seen.append(float(event.predicted_x0().abs().max()))

    gs.sample(lambda x, t: torch.cos(3.0 * x), made(name), shape=(8, 3), on_row=record)
    assert max(seen) == CLIP


def test_the_clamp_is_of_the_guided_prediction() -> None:
    plan = made("dpmpp_2m").guided(3.0)
    assert plan == gs.Plan.from_json(plan.to_json())
    assert [row.converted[0].bound for row in plan.rows] == [CLIP] * NFE


# --- kept


@every_clippable
@pytest.mark.each_value
def test_a_clip_survives_json_and_a_later_start(name: str) -> None:
    plan = made(name)
    assert recipe_of(plan).options["clip"] == CLIP
    assert gs.starting_at(Plan.from_json(plan.to_json()), 0) == plan
    later = gs.starting_at(plan, 1)
    assert {row.converted[0].bound for row in later.rows if row.calls} == {CLIP}
    assert later == registry.rebuild(name, VP, recipe_of(plan).grid[1:], recipe_of(plan).options)


def test_without_a_clip_the_recipe_does_not_name_it() -> None:
    assert "clip" not in recipe_of(made("ddim", clip=None)).options


@every_clippable
def test_a_clip_costs_no_evaluation_and_asks_the_network_at_the_same_times(name: str) -> None:
    plan, unclipped = made(name), made(name, clip=None)
    assert (plan.nfe, plan.times, plan.outputs) == (unclipped.nfe, unclipped.times, unclipped.outputs)


# --- refused


@pytest.mark.parametrize("name", sorted(set(TABLES) - set(CLIPPABLE)))
def test_a_solver_of_derivatives_names_others(name: str) -> None:
    with pytest.raises(
        ValueError, match=r"clip: the solver reads derivatives, .*; take one .* as dpmpp, unipc or deis_tab"
    ):
        made(name)


@pytest.mark.parametrize("clip", [0.0, -1.0, math.inf, math.nan])
def test_a_clip_is_positive_and_finite(clip: float) -> None:
    with pytest.raises(ValueError, match=f"clip={clip}; give a positive finite number"):
        made("ddim", clip=clip)


@pytest.mark.parametrize("clip", [True, "1", [1.0]])
def test_a_clip_is_a_number(clip: Any) -> None:
    with pytest.raises(TypeError, match=r"clip=.*: give a real number"):
        made("ddim", clip=clip)


def test_a_clip_is_no_option_of_a_solver() -> None:
    with pytest.raises(ValueError, match=r"options: contains 'clip'; pass make_plan\(..., clip=...\)"):
        made("ddim", clip=None, options={"clip": 1.0})


def test_no_x0_determines_the_epsilon_of_clean_data() -> None:
    with pytest.raises(ValueError, match=r"clip: at t=0.0, where sigma = 0, .*; start the grid after it"):
        registry.rebuild("ddim", VP, [0.0, 0.5, 1.0], {"clip": 1.0})


def test_a_plan_is_clipped_once() -> None:
    with pytest.raises(ValueError, match="clip: the plan clamps already"):
        clipped(made("dpmpp_2m"), 1.0)
