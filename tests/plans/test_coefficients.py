"""Every solver against its paper: each state that the network sees and the last one, coefficient by coefficient.

The textbook folder holds the papers' algorithms as they are written, run on basis vectors at 40 digits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from mpmath import mp, mpf
from numpy.typing import NDArray

import genie_samplers as gs
from genie_samplers import Plan, grids, predictions
from genie_samplers.schedules import AlphasCumprod, Schedule
from genie_samplers.solvers import registry

from .plans import TABLES
from .products import pairs_first
from .textbook.cases import GRIDS, SCHEDULES, STEPS, GridOf
from .textbook.run import Run
from .textbook.schedules import textbook_schedule
from .textbook.table import TEXTBOOK

Array = NDArray[np.float64]
# indices of a table, whole and not; one as short as this has too few for the quadratic grid
INDICES: dict[str, GridOf] = {
    name: grids.TABLE_GRIDS[name] for name in ("linspace", "leading", "trailing", "euler_linspace")
}

every_name = pytest.mark.parametrize("name", TABLES)


@pytest.fixture(autouse=True)
def forty_digits() -> Iterator[None]:
    with mp.workdps(40):
        yield


@every_name
def test_every_solver_has_a_textbook(name: str) -> None:
    assert name in TEXTBOOK


def test_every_kind_of_schedule_is_compared() -> None:
    exported = [getattr(gs.schedules, name) for name in gs.schedules.__all__]
    kinds = {kind.name for kind in exported if isinstance(kind, type) and hasattr(kind, "name")}
    assert kinds == {schedule.name for schedule in SCHEDULES.values()}


def grids_of(name: str, schedule: Schedule) -> dict[str, GridOf]:
    chosen = {**GRIDS, **(INDICES if isinstance(schedule, AlphasCumprod) else {})}
    return {key: grid for key, grid in chosen.items() if not (key == "rising" and TABLES[name].stochastic)}


def belongs(name: str, schedule: str, grid: str) -> bool:
    return grid in grids_of(name, SCHEDULES[schedule])


NAMES = {name: name for name in TABLES}


@pairs_first({"name": NAMES, "schedule": SCHEDULES, "grid": {**GRIDS, **INDICES}}, valid=belongs)
def test_states_are_the_textbooks(name: str, schedule: Schedule, grid: GridOf) -> None:
    assert worst_error(name, schedule, grid(schedule, STEPS)) <= 1e-12


@pairs_first(
    {
        "name": NAMES,
        "schedule": {name: name for name in ("vp_linear", "sub_vp", "edm")},
        "prediction": {name: name for name in predictions.PREDICTIONS},
    }
)
@pytest.mark.each_value("schedule", "prediction")
def test_states_are_the_textbooks_for_every_prediction(name: str, schedule: str, prediction: str) -> None:
    # of moderate gamma: between a network that predicts x0 and an epsilon form gamma of the digits cancel
    times = GRIDS["to_zero"](SCHEDULES[schedule], STEPS)
    assert worst_error(name, SCHEDULES[schedule], times, prediction=prediction) <= 1e-12


MEASURED = {"times": (0.9, 0.01, 0.3), "ms_eps": (0.8, 0.01, 0.5)}
OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("ddim", {"eta": 0.5}),
    ("ddim", {"eta": 1.0, "sigma_hat": True}),
    *((f"analytic_{kind}", MEASURED) for kind in ("ddpm", "ddim")),
    *((f"analytic_{kind}", {**MEASURED, "most": 0.2, "pixel_levels": 2.0}) for kind in ("ddpm", "ddim")),
    *((f"analytic_{kind}", {**MEASURED, "noise_at_zero": True}) for kind in ("ddpm", "ddim")),
    *((name, {"noise_scale": 0.0}) for name in ("gddim", "ei_sde", "euler_maruyama")),
    *((name, {"noise_scale": 0.6}) for name in ("gddim", "ei_sde", "euler_maruyama")),
    *((f"deis_{u}{order}", {"warmup": "corrected"}) for u in ("tab", "rho_ab", "log_ab") for order in range(4)),
    *((f"deis_{u}3", {"warmup": "gradual"}) for u in ("tab", "rho_ab", "log_ab")),
    *((f"ipndm{order}", {"warmup": "gradual"}) for order in (3, 4)),
    *((f"dpmpp_{order}m", {"variant": variant}) for order in (1, 2, 3) for variant in ("published", "exact")),
    *((f"dpmpp_{order}m", {"lower_order_final": False}) for order in (1, 2, 3)),
    ("dpmpp_2m_sde", {"lower_order_final": False}),
    *(("dpmpp_2m_sde", {"eta": eta}) for eta in (0.0, 0.5)),
    *((f"unipc{order}", {"variant": "bh1"}) for order in (1, 2, 3)),
    *((f"unipc{order}", {"lower_order_final": False}) for order in (1, 2, 3)),
    *((f"genie_{kind}", {"afs": True}) for kind in ("ttm2", "ttm3", "hermite3", "hermite4")),
    *((f"genie_{kind}", {"derivative_below": 10.0}) for kind in ("ttm2", "ttm3", "hermite3", "hermite4")),
    *((f"genie_{kind}", {"derivative": "exact"}) for kind in ("ttm2", "hermite3", "hermite4")),
    ("genie_hermite", {"values": 3, "variable": "gamma", "quantity": "x0"}),
    *(("genie_hermite", {"values": values, "derivative": "exact"}) for values in (1, 3, 4)),
    *((f"genie_{kind}", {"derivative": "head", "derivative_below": 1.0}) for kind in ("ttm2", "hermite3", "hermite4")),
    *((f"genie_{kind}", {"variable": u}) for kind in ("ttm2", "hermite4") for u in ("t", "gamma", "log_gamma")),
    *(
        (f"genie_{kind}", {"variable": u, "quantity": "x0", "afs": True})
        for kind in ("ttm2", "hermite4")
        for u in ("gamma", "log_gamma")
    ),
    *(("genie_hermite", {"values": values, "derivatives": 0}) for values in (2, 4)),
    ("genie_hermite", {"values": 3, "derivatives": 3, "derivative": "head"}),
    ("edm_heun", {"s_churn": 1.5, "s_noise": 1.003}),
    ("edm_heun", {"s_churn": 40.0, "s_min": 0.05, "s_max": 30.0}),
]


@pairs_first(
    {
        "case": {f"{name}-{options}": (name, options) for name, options in OPTIONS},
        "schedule": {name: name for name in ("vp_linear", "flow", "table-alpha_bar")},
        "grid": {name: name for name in ("quadratic_t", "to_zero")},
    }
)
@pytest.mark.each_value
def test_states_are_the_textbooks_with_options(case: tuple[str, dict[str, Any]], schedule: str, grid: str) -> None:
    name, options = case
    times = GRIDS[grid](SCHEDULES[schedule], STEPS)
    assert worst_error(name, SCHEDULES[schedule], times, options) <= 1e-12


@pytest.mark.parametrize("steps", [1, 2, 9, 10, 11])
@pytest.mark.parametrize("lower_order_final", [None, True, False])
@pytest.mark.parametrize("name", ["dpmpp_2m", "dpmpp_3m", "dpmpp_2m_sde"])
@pytest.mark.each_value
def test_orders_fall_at_the_end_of_short_grids(name: str, lower_order_final: bool | None, steps: int) -> None:
    schedule = SCHEDULES["vp_linear"]
    times = grids.uniform_half_log_snr(schedule, steps)
    assert worst_error(name, schedule, times, {"lower_order_final": lower_order_final}) <= 1e-12


@pytest.mark.parametrize("name", ["deis_tab", "deis_log_ab", "ipndm"])
def test_the_gradual_warm_up_reaches_the_full_order(name: str) -> None:
    schedule = SCHEDULES["vp_linear"]
    assert worst_error(name, schedule, grids.power_gamma(schedule, 9)) <= 1e-12


@pytest.mark.parametrize("zero", [True, False])
@pytest.mark.parametrize("name", ["dpm_solver_2s", "dpm_solver_3s"])
def test_dpm_solver_takes_an_order_for_every_step_but_that_to_zero(name: str, zero: bool) -> None:
    schedule = SCHEDULES["vp_linear"]
    times = grids.power_gamma(schedule, 5)
    times = grids.with_zero(schedule, times) if zero else times
    assert worst_error(name, schedule, times, {"orders": (1, 3, 2, 3, 1)}) <= 1e-12


@pairs_first({"name": NAMES, "steps": {"1": 1, "2": 2, "3": 3}, "zero": {"to zero": True, "to t_end": False}})
@pytest.mark.each_value
def test_states_are_the_textbooks_in_the_shortest_grids(name: str, steps: int, zero: bool) -> None:
    schedule = SCHEDULES["vp_linear"]
    times = grids.quadratic_t(schedule, steps)
    assert worst_error(name, schedule, grids.with_zero(schedule, times) if zero else times) <= 1e-12


def worst_error(
    name: str, schedule: Schedule, times: Array, options: Mapping[str, Any] | None = None, prediction: str = "epsilon"
) -> float:
    """Over the states that the network sees and the last one: largest error over largest coefficient."""
    options = {} if options is None else options
    recipe = {**TABLES[name].options, **options, "prediction": prediction}
    plan = registry.rebuild(name, schedule, times, recipe)
    textbook = run_textbook(plan, TEXTBOOK[name], schedule, times, options)
    states = states_of(plan)
    expected = np.stack([state.rounded(states.shape[1]) for _, state in textbook.asked])
    errors = np.abs(states - expected).max(axis=1) / np.abs(expected).max(axis=1)
    assert times_asked(plan) == pytest.approx([float(t) for t, _ in textbook.asked[:-1]], rel=1e-13, abs=0)
    return float(errors.max())


def run_textbook(
    plan: Plan, textbook: Callable[..., Any], schedule: Schedule, times: Array, options: Mapping[str, Any]
) -> Run:
    """The finished run; the last state stands behind those that the network was asked."""
    draws = sum(len(row.draws) for row in plan.rows)
    exact_times = [mpf(t) for t in times.tolist()]
    prediction, *others = plan.outputs
    run = Run(
        textbook_schedule(schedule), exact_times,
        prediction=prediction, evaluations=plan.nfe, draws=draws, outputs=1 + len(others),
    )  # fmt: skip
    run.asked.append((run.times[-1], textbook(run, **options)))
    assert run.left_over == 0
    return run


def states_of(plan: Plan) -> Array:
    """[states, coefficients of x_T, of the outputs in the order of the calls, of the draws]"""
    calls = [number for number, row in enumerate(plan.rows) if row.calls]
    linear = plan.unrolled()
    count, read = len(linear.state), linear.output.shape[-1]
    of_outputs = np.pad(linear.output[:, calls], ((0, 0), (0, 0), (0, len(plan.outputs) - read)))
    states = np.hstack([linear.state[:, None], of_outputs.reshape(count, -1), linear.draw])
    scales = np.array([plan.rows[row].input_scale for row in calls])
    return np.vstack([scales[:, None] * states[calls], states[-1]])


def times_asked(plan: Plan) -> list[float]:
    return [row.time for row in plan.rows if row.calls]
