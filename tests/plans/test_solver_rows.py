"""Rows of deis_tab, ddim and dpmpp_2m against formulas in 30 digits and golden values."""

from __future__ import annotations

from collections.abc import Iterator

import mpmath as mp
import numpy as np
import pytest
from numpy.typing import NDArray

from genie_samplers import grids, predictions, solvers
from genie_samplers.schedules import Schedule

from .exact import MP, Real, exact_tab_row, relative_error, sigma, weights
from .oracle import execute
from .problems import (
    DISCRETE,
    EDM,
    GOLDEN_GRID,
    GOLDEN_MIXTURE,
    VP,
    X_T,
    network_of,
)

every_prediction = pytest.mark.parametrize("prediction", predictions.PREDICTIONS)


@pytest.fixture(autouse=True)
def thirty_digits() -> Iterator[None]:
    with mp.workdps(30):
        yield


# --- deis_tab


@pytest.mark.parametrize("order", [0, 1, 2, 3])
@pytest.mark.parametrize(
    ("schedule", "grid"),
    [
        (VP, "quadratic_t"),
        (VP, "karras"),
        (VP, "log_snr"),
        (VP, "uniform_t"),
        (EDM, "karras"),
        (EDM, "log_snr"),
    ],
    ids=["vp-quadratic_t", "vp-karras", "vp-log_snr", "vp-uniform_t", "edm-karras", "edm-log_snr"],
)
def test_tab_weights_are_the_lagrange_integrals(schedule: Schedule, grid: str, order: int) -> None:
    times = grids.GRIDS[grid](schedule, 5)
    plan = solvers.deis_tab(schedule, times, order=order)
    exact = MP[schedule.name]
    errors = [relative_error(weights(plan, n), exact_tab_row(exact, times, n, order)) for n in range(5)]
    assert max(errors) <= 1e-12


def test_tab_weights_of_a_rising_grid_are_the_lagrange_integrals() -> None:
    times = GOLDEN_GRID[::-1].copy()
    plan = solvers.deis_tab(VP, times, order=3)
    errors = [relative_error(weights(plan, n), exact_tab_row(MP["vp_linear"], times, n, 3)) for n in range(5)]
    assert max(errors) <= 1e-12


GOLDEN_TAB3 = [
    [-16.9913710744521],
    [-4.10678969224899, 0.889186125816773],
    [-1.5149368239724, 0.673678769352201, -0.157961083667264],
    [-0.697010605811356, 0.385663191202631, -0.146971528746304, 0.0229046651219421],
    [-0.226888235990163, 0.0817181376219079, -0.0240441275242785, 0.00310629007715292],
]
GOLDEN_RATIOS = [
    17.9847506170809,
    4.11992209034839,
    1.74641541463291,
    1.15802979052364,
    1.01541876487882,
]


@pytest.mark.parametrize("row", range(5))
def test_golden_rows_of_tab3(row: int) -> None:
    plan = solvers.deis_tab(VP, GOLDEN_GRID, order=3)
    assert relative_error(weights(plan, row), [mp.mpf(v) for v in GOLDEN_TAB3[row]]) <= 1e-14 * 5
    assert plan.instructions[row].x.x == pytest.approx(GOLDEN_RATIOS[row], rel=5e-15, abs=0)


def test_golden_sample_of_tab3() -> None:
    plan = solvers.deis_tab(VP, GOLDEN_GRID, order=3)
    golden = [
        -1.2114054828479,
        -0.33584767883969,
        0.70659478075324,
        1.01547502628602,
        1.46586410274548,
    ]
    assert execute(plan, X_T, network_of(plan, GOLDEN_MIXTURE, VP))[-1] == pytest.approx(golden, rel=1e-12, abs=0)


def test_golden_flow_and_noise_of_the_mixture() -> None:
    flow = [
        -1.26140740213701,
        -0.661412882807019,
        0.696503069586785,
        1.05295366923372,
        1.5799157402353,
    ]
    noise = [
        -1.71774529080564,
        -0.656656528212849,
        0.118723122166729,
        0.802870324226161,
        1.99060789990516,
    ]
    assert GOLDEN_MIXTURE.flow(VP, X_T, 1.0, 1e-3) == pytest.approx(flow, rel=1e-12, abs=0)
    assert GOLDEN_MIXTURE.epsilon(VP, X_T, 0.5) == pytest.approx(noise, rel=1e-12, abs=0)


@pytest.mark.parametrize("order", [0, 1, 2, 3])
@pytest.mark.parametrize("schedule", [VP, EDM, DISCRETE], ids=lambda s: s.name)
@pytest.mark.parametrize("grid", grids.GRIDS)
def test_tab_weights_sum_to_the_ddim_weight(grid: str, schedule: Schedule, order: int) -> None:
    times = grids.GRIDS[grid](schedule, 9)
    plan, ddim = solvers.deis_tab(schedule, times, order=order), solvers.ddim(schedule, times)
    errors = [abs(sum(weights(plan, n)) - weights(ddim, n)[0]) / max(map(abs, weights(plan, n))) for n in range(9)]
    assert max(errors) <= 1e-12


@pytest.mark.parametrize("power", [1, 2, 3])
def test_tab_weights_integrate_powers_of_t(power: int) -> None:
    times = grids.power_gamma(EDM, 9)  # t = gamma there, so the integral of t^k dgamma is elementary
    plan = solvers.deis_tab(EDM, times, order=3)
    rows = range(power, 9)
    moments = [np.dot(weights(plan, n), times[n - min(3, n) : n + 1][::-1] ** power) for n in rows]
    exact = [(times[n + 1] ** (power + 1) - times[n] ** (power + 1)) / (power + 1) for n in rows]
    assert moments == pytest.approx(exact, rel=1e-12, abs=0)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_first_rows_of_tab_are_those_of_the_lower_orders(order: int) -> None:
    rows = range(order)
    warm = [solvers.deis_tab(VP, GOLDEN_GRID, order=order).instructions[n] for n in rows]
    assert warm == [solvers.deis_tab(VP, GOLDEN_GRID, order=n).instructions[n] for n in rows]


# --- ddim


@pytest.mark.parametrize("grid", grids.GRIDS)
@every_prediction
def test_tab0_is_ddim(grid: str, prediction: str) -> None:
    times = grids.GRIDS[grid](VP, 6)
    assert solvers.deis_tab(VP, times, order=0, prediction=prediction).allclose(
        solvers.ddim(VP, times, prediction=prediction)
    )


def ddim_row(t: float, t_next: float, eta: float) -> tuple[float, float, float]:
    (step,) = solvers.ddim(VP, [t, t_next], eta=eta).instructions
    return step.x.x, step.x.y[0], step.x.draws[0]


STEPS = [(1.0, 0.65), (0.65, 0.6499), (0.3, 1e-3), (0.02, 0.01)]


@pytest.mark.parametrize(("t", "t_next"), STEPS)
@pytest.mark.parametrize("eta", [0.3, 1.0])
def test_ddim_with_eta_is_songs_formula(t: float, t_next: float, eta: float) -> None:
    exact, t0, t1 = MP["vp_linear"], mp.mpf(t), mp.mpf(t_next)
    ratio = exact.alpha(t1) / exact.alpha(t0)
    noise = eta * sigma(exact, t1) * mp.sqrt(1 - (exact.gamma(t1) / exact.gamma(t0)) ** 2)
    weight = mp.sqrt(sigma(exact, t1) ** 2 - noise**2) - ratio * sigma(exact, t0)
    row = ddim_row(t, t_next, eta)
    assert row == pytest.approx([float(v) for v in (ratio, weight, noise)], rel=1e-13, abs=0)


@pytest.mark.parametrize(("t", "t_next"), STEPS)
def test_ddim_with_eta_1_is_the_posterior_of_ddpm(t: float, t_next: float) -> None:
    exact, t0, t1 = MP["vp_linear"], mp.mpf(t), mp.mpf(t_next)
    bar, bar_next = exact.alpha(t0) ** 2, exact.alpha(t1) ** 2
    beta = 1 - bar / bar_next
    of_x0 = mp.sqrt(bar_next) * beta / (1 - bar)
    of_x = mp.sqrt(1 - beta) * (1 - bar_next) / (1 - bar)
    variance = beta * (1 - bar_next) / (1 - bar)
    # x0 = (x - sqrt(1 - bar) eps) / sqrt(bar)
    row = [of_x + of_x0 / mp.sqrt(bar), -of_x0 * mp.sqrt((1 - bar) / bar), mp.sqrt(variance)]
    assert ddim_row(t, t_next, 1.0) == pytest.approx([float(v) for v in row], rel=1e-13, abs=0)


@pytest.mark.parametrize(("t", "t_next"), STEPS)
def test_ddim_with_eta_1_is_gddim_with_noise_scale_1(t: float, t_next: float) -> None:
    exact, t0, t1 = MP["vp_linear"], mp.mpf(t), mp.mpf(t_next)
    fall = exact.gamma(t1) / exact.gamma(t0)
    weight = exact.alpha(t1) * (exact.gamma(t1) * fall - exact.gamma(t0))
    noise = sigma(exact, t1) * mp.sqrt(1 - fall**2)
    assert ddim_row(t, t_next, 1.0)[1:] == pytest.approx([float(weight), float(noise)], rel=1e-13, abs=0)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim_keeps_the_law_of_a_point_mass(eta: float) -> None:
    # x = a c + sigma z stays so: the weights of c and the variance must come out as a' and sigma'^2
    plan = solvers.ddim(VP, GOLDEN_GRID, eta=eta)
    before, after = GOLDEN_GRID[:-1], GOLDEN_GRID[1:]
    rows = [s.x for s in plan.instructions]
    kept = np.array([r.x * VP.sigma(t) + r.y[0] for r, t in zip(rows, before, strict=True)])
    added = np.array([sum(d * d for d in r.draws) for r in rows])
    assert kept**2 + added == pytest.approx(VP.sigma(after) ** 2, rel=1e-12, abs=0)
    assert [r.x * VP.alpha(t) for r, t in zip(rows, before, strict=True)] == pytest.approx(
        VP.alpha(after), rel=1e-13, abs=0
    )


def test_ddim_to_clean_data_draws_no_noise_in_the_last_step() -> None:
    plan = solvers.ddim(VP, [1.0, 0.5, 0.0], eta=1.0)
    assert [step.draws for step in plan.instructions] == [(0,), ()]


# --- dpmpp_2m


def exact_2m_row(times: NDArray[np.float64], n: int, *, second_order: bool) -> list[Real]:
    """[weight of x, of m_0, (of m_1)] by the paper's formula."""
    exact = MP["vp_linear"]
    past, now, after = (mp.mpf(float(t)) for t in times[[max(n - 1, 0), n, n + 1]])
    lam = [-mp.log(exact.gamma(t)) for t in (past, now, after)]
    h = lam[2] - lam[1]
    first = -exact.alpha(after) * mp.expm1(-h)
    base = sigma(exact, after) / sigma(exact, now)
    if not second_order:
        return [base, first]
    r = (lam[1] - lam[0]) / h
    return [base, first * (1 + 1 / (2 * r)), -first / (2 * r)]


@pytest.mark.parametrize("grid", grids.GRIDS)
@pytest.mark.parametrize(
    ("steps", "lower_order_final", "first_order"),
    [(6, None, {0, 5}), (9, None, {0, 8}), (10, None, {0}), (6, False, {0}), (10, True, {0, 9})],
)
def test_dpmpp_2m_rows_are_the_papers(
    grid: str, steps: int, lower_order_final: bool | None, first_order: set[int]
) -> None:
    times = grids.GRIDS[grid](VP, steps)
    plan = solvers.dpmpp_2m(VP, times, lower_order_final=lower_order_final)
    errors = [
        relative_error(
            [plan.instructions[n].x.x, *weights(plan, n)],
            exact_2m_row(times, n, second_order=n not in first_order),
        )
        for n in range(steps)
    ]
    assert max(errors) <= 1e-12


@pytest.mark.parametrize(("steps", "start"), [(12, 4), (9, 3)])
def test_dpmpp_2m_keeps_the_order_of_its_last_step_when_it_starts_later(steps: int, start: int) -> None:
    plan = solvers.dpmpp_2m(VP, grids.power_gamma(VP, steps))
    assert plan.starting_at(start).instructions[-1].x == plan.instructions[-1].x


@pytest.mark.parametrize("steps", [3, 12])
def test_dpmpp_2m_arrives_at_clean_data_with_its_last_x0(steps: int) -> None:
    plan = solvers.dpmpp_2m(VP, grids.with_zero(VP, grids.power_gamma(VP, steps)))
    last = plan.instructions[-1]
    assert (last.x.x, last.x.y, last.history) == (0.0, (1.0,), ())


def test_dpmpp_2m_does_not_start_from_clean_data() -> None:
    with pytest.raises(ValueError, match=r"t=0.0 is t_zero, where sigma = 0: use the epsilon form"):
        solvers.dpmpp_2m(VP, [0.0, 0.5, 1.0])
