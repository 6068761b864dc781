"""Plans from alpha = 0 exactly, where gamma is infinite: coefficients are their limits, and samples are right."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from mpmath import mp, mpf

import genie_samplers as gs
from genie_samplers import Plan, grids, solvers
from genie_samplers.schedules import Schedule
from genie_samplers.solvers import registry

from .exact_weights import COARSE_TABLE
from .oracle import Array, execute
from .plans import TABLES, recipe_of
from .problems import ZERO_SNR, outputs_of
from .products import pairs_first
from .test_coefficients import states_of
from .test_point_mass import assert_exact_in_law, assert_on_the_flow
from .textbook.run import Run
from .textbook.schedules import TextbookSchedule
from .textbook.table import TEXTBOOK

FLOW = gs.schedules.flow()
COARSE = gs.schedules.from_alphas_cumprod((*COARSE_TABLE[:-1], 0.0))
SCHEDULES: dict[str, Schedule] = {
    "flow": FLOW,
    "flow-shift3": gs.schedules.flow(shift=3.0),
    "flow-shift12": gs.schedules.flow(shift=12.0),
    "zero_snr": ZERO_SNR,
}
PREDICTIONS = {name: name for name in ("v", "x0", "flow")}
REFUSED = ("ei_score", "ei_sde", "euler_maruyama", "euler_ode")
NAMES = [name for name in TABLES if name not in REFUSED]
DETERMINISTIC = [name for name in NAMES if not TABLES[name].stochastic]
every_schedule = pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES.keys())
every_name = pytest.mark.parametrize("name", NAMES)


def made(name: str, schedule: Schedule, prediction: str = "v", nfe: int = 24, **arguments: Any) -> Plan:
    """24 evaluations, or the number that the solver makes with a step of one at both ends."""
    try:
        return gs.make_plan(name, schedule, nfe, prediction=prediction, **arguments)
    except registry.UnreachableNFE as error:
        nfe = int(str(error).split(" makes ")[1].split()[0])
        return gs.make_plan(name, schedule, nfe, prediction=prediction, **arguments)


def built(name: str, schedule: Schedule, times: Array, prediction: str = "v", **options: Any) -> Plan:
    return registry.rebuild(name, schedule, times, {**TABLES[name].options, **options, "prediction": prediction})


def names(chosen: list[str]) -> dict[str, str]:
    return {name: name for name in chosen}


# --- the ends


@pairs_first({"name": names(NAMES), "schedule": SCHEDULES, "prediction": PREDICTIONS})
@pytest.mark.each_value
def test_a_plan_runs_from_pure_noise_to_clean_data_exactly(name: str, schedule: Schedule, prediction: str) -> None:
    plan = made(name, schedule, prediction, denoise=True)
    grid = recipe_of(plan).grid
    assert (grid[0], grid[-1]) == (schedule.t_max, schedule.t_zero)
    assert plan.init.scale == 1.0
    assert Plan.from_json(plan.to_json()) == plan
    assert gs.starting_at(plan, 0) == plan


@pytest.mark.parametrize("grid", grids.GRIDS)
@every_schedule
def test_every_grid_falls_from_pure_noise_to_the_end(schedule: Schedule, grid: str) -> None:
    times = grids.GRIDS[grid](schedule, 7)
    assert (len(times), times[0], times[-1]) == (8, schedule.t_max, schedule.t_end)
    assert np.all(np.diff(times) < 0.0)
    assert np.all(np.diff(schedule.noise_share(times)) < 0.0)


@every_schedule
def test_pure_noise_says_so(schedule: Schedule) -> None:
    assert schedule.starts_in_pure_noise
    assert (schedule.alpha(schedule.t_max), schedule.sigma(schedule.t_max)) == (0.0, 1.0)
    assert schedule.noise_share(schedule.t_max) == 1.0
    assert schedule.time_of_noise_share(1.0) == schedule.time_of_gamma(np.inf) == schedule.t_max


# --- coefficients against the textbook's, run next to pure noise at 90 digits

LIMITS = [
    "ddim", "ddpm", "gddim", "dpmpp_1m", "unipc1", "deis_log_ab0", "deis_rho_euler",
    *(name for name in NAMES if name.startswith(("deis_tab", "deis_rho_ab", "ipndm", "flow_"))),
]  # fmt: skip
# A polynomial in log gamma loses its first node only as fast as 1 / log gamma grows; and a step of stages is one of
# order 1 there, by choice, because a stage near pure noise says nothing: these are checked by what follows the first.


@pytest.fixture
def ninety_digits() -> Iterator[None]:
    with mp.workdps(90):
        yield


def next_to_pure_noise(schedule: Schedule, t: float) -> Any:
    """1e-30 before alpha = 0, and in a table, whose alpha is a root, 1e-60."""
    return mpf(t) - (mpf(10) ** (-30 if schedule is FLOW else -60) if t == schedule.t_max else 0)


def worst_error(name: str, schedule: Schedule, times: Array) -> float:
    """Over the states that the network sees and the last one: largest error over largest coefficient."""
    plan = built(name, schedule, times)
    exact = [next_to_pure_noise(schedule, t) for t in times.tolist()]
    draws = sum(len(row.draws) for row in plan.rows)
    run = Run(TextbookSchedule(schedule), exact, prediction="v", evaluations=plan.nfe, draws=draws)
    run.asked.append((exact[-1], TEXTBOOK[name](run)))
    assert run.left_over == 0
    states = states_of(plan)
    expected = np.stack([state.rounded(states.shape[1]) for _, state in run.asked])
    return float((np.abs(states - expected).max(axis=1) / np.abs(expected).max(axis=1)).max())


TIMES = {"flow": (FLOW, grids.uniform_t(FLOW, 5)), "table": (COARSE, np.array([9.0, 7.0, 5.0, 3.0, 1.0, -1.0]))}


@pytest.mark.usefixtures("ninety_digits")
@pytest.mark.parametrize(("schedule", "times"), TIMES.values(), ids=TIMES.keys())
@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.each_value
def test_coefficients_are_the_limits_of_the_textbooks(name: str, schedule: Schedule, times: Array) -> None:
    assert worst_error(name, schedule, times) <= 1e-12


ENCODING = [name for name in LIMITS if not TABLES[name].stochastic and not name.startswith("deis_rho_ab")]


@pytest.mark.usefixtures("ninety_digits")
@pytest.mark.parametrize("name", [*ENCODING, "dpmpp_2m", "dpmpp_3m", "unipc3", "s_pndm", "f_pndm", "euler_ode"])
def test_encoding_to_pure_noise_is_the_limit_of_the_textbooks(name: str) -> None:
    assert worst_error(name, FLOW, grids.uniform_t(FLOW, 5, t_end=0.05)[::-1]) <= 1e-12


AFTER = [name for name in NAMES if name not in LIMITS and not name.startswith("unipc") and name != "deis_log_ab"]


def relative(plan: Plan) -> list[tuple[object, ...]]:
    return [(r.time, r.x, r.aux, r.converted, [(plan.times[h.row], h.h) for h in r.history]) for r in plan.rows]


def ddim_first(schedule: Schedule, times: Array, *, noisy: bool) -> tuple[float, float, float]:
    """Of the state, of x0 and of the noise."""
    alpha, sigma = float(schedule.alpha(times[1])), float(schedule.sigma(times[1]))
    return (0.0, alpha, sigma) if noisy else (sigma, alpha, 0.0)


@pytest.mark.parametrize(("schedule", "times"), TIMES.values(), ids=TIMES.keys())
@pytest.mark.parametrize("name", AFTER)
@pytest.mark.each_value
def test_a_first_step_of_order_1_comes_before_the_solvers_own_start(
    name: str, schedule: Schedule, times: Array
) -> None:
    whole, rest = built(name, schedule, times), built(name, schedule, times[1:])
    assert relative(whole)[1:] == relative(rest)
    first = whole.rows[0]
    of_x0 = first.x.y[first.x0] if first.x0 is not None else first.x.y[0]
    noise = sum(first.x.draws)
    expected = ddim_first(schedule, times, noisy=whole.stochastic)
    assert (first.x.x, of_x0, noise) == pytest.approx(expected, rel=4e-16, abs=0)


@pytest.mark.parametrize(("schedule", "times"), TIMES.values(), ids=TIMES.keys())
@pytest.mark.parametrize("order", [1, 2, 3])
def test_unipc_corrects_its_step_from_pure_noise_and_then_forgets_it(
    order: int, schedule: Schedule, times: Array
) -> None:
    whole, rest = (solvers.unipc(schedule, t, order=order, prediction="x0") for t in (times, times[1:]))
    assert relative(whole)[2:] == relative(rest)[1:]
    # UniC-1 with B = -1: the state at times[1] had alpha' m_0 and gets alpha'/2 (m_1 - m_0)
    changed = float(schedule.alpha(times[1])) / 2 * whole.rows[1].x.x
    before, after = (built("dpmpp_1m", schedule, times, "x0"), whole)
    own, past = after.rows[1].x.y[0] - before.rows[1].x.y[0], after.rows[1].x.history[0]
    assert (own, past) == pytest.approx((changed, -changed), rel=1e-14, abs=0)


@every_schedule
@pytest.mark.parametrize("name", ["deis_log_ab1", "deis_log_ab2", "deis_log_ab3"])
def test_a_polynomial_in_log_gamma_is_that_without_the_node_at_infinity(name: str, schedule: Schedule) -> None:
    times = grids.uniform_t(schedule, 6)
    assert relative(built(name, schedule, times))[1:] == relative(built(name, schedule, times[1:]))


# --- data that is known


@pairs_first(
    {
        "name": names([n for n in DETERMINISTIC if TABLES[n].exact_on_point_mass]),
        "schedule": SCHEDULES,
        "prediction": PREDICTIONS,
    }
)
@pytest.mark.each_value
def test_a_point_is_reached_exactly_from_pure_noise(name: str, schedule: Schedule, prediction: str) -> None:
    assert_on_the_flow(made(name, schedule, prediction, nfe=9))


@pairs_first(
    {
        "name": names([n for n in NAMES if TABLES[n].stochastic and TABLES[n].exact_on_point_mass]),
        "schedule": SCHEDULES,
        "prediction": PREDICTIONS,
    }
)
@pytest.mark.each_value
def test_the_law_of_a_point_is_kept_from_pure_noise(name: str, schedule: Schedule, prediction: str) -> None:
    assert_exact_in_law(made(name, schedule, prediction, nfe=9))


def gaussian_network(plan: Plan, row: int, x: Array) -> list[Array]:
    """Of data N(0, 1), where x / sqrt(alpha^2 + sigma^2) stays and epsilon is the sine of atan gamma times it."""
    schedule, t = plan.schedule, plan.times[row]
    alpha, sigma = float(schedule.alpha(t)), float(schedule.sigma(t))
    variance = alpha**2 + sigma**2
    first = alpha**2 * sigma / variance**2 * x
    second = -3.0 * alpha**2 * sigma**3 / variance**3 * x
    return outputs_of(plan.outputs, schedule, t, alpha / variance * x, sigma / variance * x, (first, second))


def deviation_error(plan: Plan) -> float:
    """Of the samples' standard deviation, which should be 1."""
    start, *draws = np.eye(1 + sum(len(row.draws) for row in plan.rows))
    last = execute(plan, start, lambda row, x: gaussian_network(plan, row, x), draws)[-1]
    return abs(float(np.hypot.reduce(last)) - 1.0)


def all_the_way(schedule: Schedule) -> Array:
    """24 steps to clean data."""
    grid = grids.shifted_t if schedule.preferred_grid == "shifted_t" else grids.uniform_t
    return grid(schedule, 24, t_end=schedule.t_zero)


@pairs_first({"name": names(NAMES), "schedule": SCHEDULES, "prediction": PREDICTIONS})
@pytest.mark.each_value
def test_samples_of_gaussian_data_have_its_deviation(name: str, schedule: Schedule, prediction: str) -> None:
    """Within twice DDIM's error at as many steps, which is first order: noise costs as much again."""
    times = all_the_way(schedule)
    exact = {"derivative": "exact"} if name in ("genie_ttm2", "genie_hermite3", "genie_hermite") else {}
    plan, ddim = built(name, schedule, times, prediction, **exact), built("ddim", schedule, times, prediction)
    assert deviation_error(plan) <= 2.0 * deviation_error(ddim)


@every_schedule
def test_ddim_loses_the_cosine_of_every_step(schedule: Schedule) -> None:
    times = all_the_way(schedule)
    turned = np.diff(np.arctan2(schedule.sigma(times), schedule.alpha(times)))
    assert deviation_error(built("ddim", schedule, times)) == pytest.approx(1.0 - np.prod(np.cos(turned)), rel=1e-12)


# --- what is refused


@pytest.mark.parametrize("name", [name for name in TABLES if name not in REFUSED])
@pytest.mark.parametrize("prediction", ["epsilon", "score"])
@every_schedule
def test_a_network_of_noise_says_nothing_about_the_data(name: str, prediction: str, schedule: Schedule) -> None:
    message = rf"alpha = 0, so a prediction of {prediction} says nothing .*; take a network that predicts v, x0 or flow"
    with pytest.raises(ValueError, match=message):
        made(name, schedule, prediction)


@pytest.mark.parametrize("name", REFUSED)
@every_schedule
def test_a_solver_without_a_limit_names_one_that_has_it(name: str, schedule: Schedule) -> None:
    with pytest.raises(ValueError, match=r"times\[0\]=.* is pure noise, alpha = 0, .* no finite limit; take g?ddim"):
        made(name, schedule)


def test_the_corrected_warm_up_has_no_limit() -> None:
    with pytest.raises(ValueError, match=r"warmup='corrected' has no finite limit; take warmup='gradual'"):
        made("deis_tab2", FLOW, options={"warmup": "corrected"})


def test_a_score_has_no_exponential_integral_to_pure_noise() -> None:
    with pytest.raises(ValueError, match=r"times\[-1\]=1.0 is pure noise.*; take ddim, or end the grid before it"):
        built("ei_score", FLOW, np.array([0.05, 0.5, 1.0]))


# --- what else plans can do


@pytest.mark.parametrize("name", [name for name in DETERMINISTIC if TABLES[name].exact_on_point_mass])
@pytest.mark.each_value
def test_a_point_is_encoded_exactly_to_pure_noise(name: str) -> None:
    plan = built(name, FLOW, grids.uniform_t(FLOW, 6, t_end=0.05)[::-1])
    assert plan.rising
    assert_on_the_flow(plan)


@pytest.mark.parametrize("name", ["dpmpp_2m", "dpmpp_3m", "unipc2", "unipc3"])
@pytest.mark.parametrize("schedule", [FLOW, ZERO_SNR], ids=["flow", "zero_snr"])
def test_the_last_step_to_pure_noise_has_order_1_whatever_the_last_orders(name: str, schedule: Schedule) -> None:
    times = schedule.time_of_noise_share(np.linspace(0.05, 1.0, 13))
    assert_on_the_flow(built(name, schedule, times, lower_order_final=False))


@every_name
def test_a_plan_that_starts_after_pure_noise_is_an_ordinary_one(name: str) -> None:
    plan = made(name, FLOW, nfe=12)
    later = gs.starting_at(plan, 1)
    assert recipe_of(later).grid == recipe_of(plan).grid[1:]
    assert later.init.scale == recipe_of(plan).grid[1]


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("genie")])
@every_schedule
@pytest.mark.each_value
def test_a_clipped_plan_begins_with_the_clamped_prediction(name: str, schedule: Schedule) -> None:
    first = made(name, schedule, clip=0.5, nfe=12).rows[0]
    assert first.converted[0].bound == 0.5
    assert first.x.y[0] > 0.0


@pytest.mark.parametrize("name", ["genie_ttm2", "genie_ttm3", "genie_hermite3", "genie_hermite4", "genie_hermite"])
@every_schedule
def test_an_analytic_start_from_pure_noise_keeps_the_noise(name: str, schedule: Schedule) -> None:
    """N(0, 1) noise predicts no data: x' = sigma' x, and the network is asked from the second time on."""
    plan = gs.make_plan(name, schedule, 8, prediction="v", options={"afs": True})
    first = plan.rows[0]
    assert (first.calls, first.x.x, plan.nfe) == (0, schedule.sigma(recipe_of(plan).grid[1]), 8)
