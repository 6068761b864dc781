"""edm_heun against EDM's algorithm as a plain loop."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import genie_samplers as gs
from genie_samplers import grids, solvers
from genie_samplers.plan import HistoryEntry, Row
from genie_samplers.schedules import Schedule

from .oracle import Array, execute
from .plans import recipe_of
from .problems import (
    EDM,
    GOLDEN_MIXTURE,
    VP,
    X_T,
    Mixture,
    network_of,
)


def textbook_heun(
    schedule: Schedule,
    mixture: Mixture,
    times: NDArray[np.float64],
    x: Array,
    z: Array,
    churn: dict[str, float],
) -> Array:
    """EDM's algorithm 2 on v = x / alpha, the state of gamma, as a plain loop."""
    rate = min(churn["s_churn"] / (len(times) - 1), np.sqrt(2.0) - 1.0)

    def slope(v: Array, gamma: float) -> Array:
        t = float(schedule.time_of_gamma(gamma))
        return mixture.epsilon(schedule, v * schedule.alpha(t), t)

    v, draws = x / schedule.alpha(times[0]), iter(z)
    for gamma, gamma_next in pairwise(schedule.gamma(times)):
        raised = gamma
        if churn["s_churn"] > 0.0 and churn["s_min"] <= gamma <= churn["s_max"]:
            raised = min(gamma * (1.0 + rate), schedule.gamma(schedule.t_max))
        if raised > gamma:
            v = v + churn["s_noise"] * np.sqrt(raised**2 - gamma**2) * next(draws)
        d = slope(v, raised)
        euler = v + (gamma_next - raised) * d
        v = euler if gamma_next == 0.0 else v + (gamma_next - raised) * (d + slope(euler, gamma_next)) / 2
    return v * schedule.alpha(times[-1])


QUIET = {"s_churn": 0.0, "s_min": 0.0, "s_max": np.inf, "s_noise": 1.0}
CHURNS = {
    "quiet": QUIET,
    "churn": QUIET | {"s_churn": 2.0},
    "capped": QUIET | {"s_churn": 40.0, "s_noise": 1.007},
    "window": QUIET | {"s_churn": 3.0, "s_min": 0.05, "s_max": 30.0, "s_noise": 1.003},
}


@pytest.mark.parametrize("churn", CHURNS.values(), ids=CHURNS.keys())
@pytest.mark.parametrize("to_zero", [True, False], ids=["to zero", "to t_end"])
@pytest.mark.parametrize("schedule", [EDM, VP], ids=lambda s: s.name)
@pytest.mark.parametrize("start", [None, 0.6], ids=["from t_max", "from inside"])
def test_edm_heun_is_algorithm_2(schedule: Schedule, to_zero: bool, churn: dict[str, Any], start: float | None) -> None:
    t_start = schedule.t_max if start is None else start * schedule.t_max
    times = grids.power_gamma(schedule, 8, t_start=t_start)
    times = grids.with_zero(schedule, times) if to_zero else times
    plan = solvers.edm_heun(schedule, times, prediction="epsilon", **churn)
    draws = np.random.default_rng(3).standard_normal((len(times), X_T.size))
    x = X_T * schedule.sigma(t_start)
    actual = execute(plan, x, network_of(plan, GOLDEN_MIXTURE, schedule), draws)[-1]
    expected = textbook_heun(schedule, GOLDEN_MIXTURE, times, x, draws, churn)
    # v of order gamma(t_max) loses its first digits on the way down to data of order 1
    assert actual == pytest.approx(expected, rel=1e-11, abs=0)


def test_edm_heun_on_gaussian_data_reaches_the_closed_form() -> None:
    data = Mixture((1.0,), (0.3,), (0.5,))
    plan = solvers.edm_heun(EDM, grids.with_zero(EDM, grids.power_gamma(EDM, 256)))
    x = np.array([-80.0, 30.0, 100.0])
    flow = 0.3 + np.sqrt(0.5**2 / (0.5**2 + 80.0**2)) * (x - 0.3)
    # second order in the step plus the Euler step from gamma_min = 0.002
    assert np.abs(execute(plan, x, network_of(plan, data, EDM))[-1] - flow).max() < 1e-3


def test_churn_numbers_its_draws_in_the_order_of_the_rows() -> None:
    plan = solvers.edm_heun(EDM, grids.power_gamma(EDM, 4, t_start=40.0), s_churn=2.0)
    assert [d for row in plan.layout for d in row.draws] == [0, 1, 2, 3]
    assert [row.calls for row in plan.layout] == [0, *[1] * 8]


def renumbered(steps: tuple[Row, ...], rows: int, draws: int) -> list[Row]:
    """The steps as rows of a plan that has ``rows`` rows and ``draws`` draws less before them."""
    return [
        replace(
            s,
            history=tuple(HistoryEntry(p.row - rows, p.h) for p in s.history),
            draws=tuple(d - draws for d in s.draws),
        )
        for s in steps
    ]


@pytest.mark.parametrize("start", [1, 3, 7])
@pytest.mark.parametrize("to_zero", [True, False], ids=["to zero", "to t_end"])
def test_a_churned_plan_that_starts_later_has_the_rows_of_the_full_one(start: int, to_zero: bool) -> None:
    times = grids.power_gamma(VP, 9)
    times = grids.with_zero(VP, times) if to_zero else times
    plan = solvers.edm_heun(VP, times, s_churn=2.0)
    later = gs.starting_at(plan, start)
    churn, *rest = later.rows  # the full plan churns in the row that ends the step before
    rows = len(plan.rows) - len(rest)
    before = plan.rows[rows - 1]
    assert renumbered(plan.rows[rows:], rows - 1, before.draws[0]) == rest
    assert churn.x.draws == before.x.draws


def test_the_recipe_holds_the_number_of_steps_that_churn_is_divided_by() -> None:
    times = grids.power_gamma(VP, 8)
    whole, half = solvers.edm_heun(VP, times, s_churn=2.0), solvers.edm_heun(VP, times, s_churn=1.0, churn_steps=4)
    assert (recipe_of(whole).options["churn_steps"], recipe_of(half).options["churn_steps"]) == (8, 4)
    assert half.rows == whole.rows
