"""GENIE's plans against the paper's formulas, and against the solvers that they contain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import genie_samplers as gs
from genie_samplers import Plan, grids, predictions, solvers
from genie_samplers.plan import HistoryEntry
from genie_samplers.schedules import Schedule

from .oracle import execute, impulse_responses, roundings
from .problems import GOLDEN_MIXTURE, VP, X_T, network_of
from .products import pairs_first
from .textbook.cases import GRIDS, SCHEDULES, STEPS, before_zero

Array = NDArray[np.float64]
Weights = dict[HistoryEntry, float]
every_schedule = pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES.keys())
PREDICTIONS_ALONE = [0, *range(1, 1 + 2 * STEPS, 2)]  # of x_T, and in each row of a prediction and its derivative
every_grid = pytest.mark.parametrize("grid", ["quadratic_t", "karras", "rising"])


def everywhere(build: Callable[..., Plan], schedule: Schedule, times: Array, **options: Any) -> Plan:
    """With exact derivatives, or others, at every gamma."""
    chosen = options if build is solvers.genie_ttm3 else {"derivative": "exact", **options}
    return build(schedule, times, derivative_below=None, **chosen)


def weights(plan: Plan, row: int) -> Weights:
    """Of every converted output that the row combines: value (h = 0) and gamma_d_epsilon (h = 1)."""
    this = plan.rows[row]
    own = {HistoryEntry(row, h): weight for h, weight in enumerate(this.x.y)}
    return {**own, **dict(zip(this.history, this.x.history, strict=True))}


def worst(actual: list[Weights], expected: list[Weights]) -> float:
    """Largest error of a weight over the row's largest."""
    errors = [
        np.max([abs(a.get(key, 0.0) - e.get(key, 0.0)) for key in a.keys() | e.keys()]) / max(map(abs, e.values()))
        for a, e in zip(actual, expected, strict=True)
    ]
    return float(np.max(errors))  # NaN where one is; max would depend on its place


# --- the truncated Taylor method


@every_schedule
@every_grid
@pytest.mark.each_value
def test_ttm2_is_the_papers_step(schedule: Schedule, grid: str) -> None:
    """x' = c_x x + c_e e + c_k k, and c_k k = (c_k / gamma) gamma_d_epsilon."""
    times = GRIDS[grid](schedule, STEPS)
    plan = everywhere(solvers.genie_ttm2, schedule, times)
    alpha, gamma, h = schedule.alpha(times), schedule.gamma(times), schedule.gamma_change(times[:-1], times[1:])
    c_e, c_k = alpha[1:] * h, alpha[1:] * h**2 / 2
    rows = [weights(plan, n) for n in range(STEPS)]
    assert [row.x.x for row in plan.rows] == pytest.approx(alpha[1:] / alpha[:-1], rel=1e-13, abs=0)
    assert [row[HistoryEntry(n, 0)] for n, row in enumerate(rows)] == c_e.tolist()
    assert [row[HistoryEntry(n, 1)] for n, row in enumerate(rows)] == pytest.approx(c_k / gamma[:-1], rel=1e-12, abs=0)


@pytest.mark.parametrize("prediction", predictions.PREDICTIONS)
@every_schedule
@pytest.mark.each_value
def test_ttm2_without_a_derivative_is_ddim(schedule: Schedule, prediction: str) -> None:
    times = GRIDS["quadratic_t"](schedule, STEPS)
    genie = everywhere(solvers.genie_ttm2, schedule, times, prediction=prediction)
    ddim = solvers.ddim(schedule, times, prediction=prediction)
    # a row of derivatives keeps its epsilon, where DDIM's may enter as x0: equal but for the roundings of its terms
    terms = np.stack(impulse_responses(genie, np.abs(genie.table)))[:, PREDICTIONS_ALONE]
    error = np.abs(np.stack(impulse_responses(genie))[:, PREDICTIONS_ALONE] - np.stack(impulse_responses(ddim)))
    assert np.all(error <= roundings(genie) * np.finfo(np.float64).eps * terms)


@pytest.mark.parametrize("build", [solvers.genie_ttm2, solvers.genie_ttm3, solvers.genie_hermite])
def test_far_from_the_data_a_step_of_one_value_is_ddim(build: Callable[..., Plan]) -> None:
    times = [1.0, 0.9]
    plan, ddim = build(VP, times, derivative_below=10.0), solvers.ddim(VP, times)
    assert [row.x for row in plan.rows] == [row.x for row in ddim.rows]
    assert plan.layout == ddim.layout


@every_schedule
@every_grid
@pytest.mark.each_value
def test_ttm2_with_the_secant_for_its_derivative_is_adams_bashforth(schedule: Schedule, grid: str) -> None:
    """k = (e_n - e_{n-1}) / (gamma_n - gamma_{n-1}), the derivative that needs no head."""
    times = GRIDS[grid](schedule, STEPS)
    plan = everywhere(solvers.genie_ttm2, schedule, times)
    bashforth = solvers.deis_rho_ab(schedule, times, order=1)
    actual = [with_secant(schedule, times, weights(plan, n), n) for n in range(1, STEPS)]
    assert worst(actual, [weights(bashforth, n) for n in range(1, STEPS)]) <= 1e-12


def with_secant(schedule: Schedule, times: Array, row: Weights, n: int) -> Weights:
    change = float(schedule.gamma_change(times[n - 1], times[n]))
    of_secant = float(schedule.gamma(times[n])) / change * row[HistoryEntry(n, 1)]
    return {HistoryEntry(n, 0): row[HistoryEntry(n, 0)] + of_secant, HistoryEntry(n - 1, 0): -of_secant}


# --- memory


ADAMS_BASHFORTH = {"t": solvers.deis_tab, "gamma": solvers.deis_rho_ab, "log_gamma": solvers.deis_log_ab}


@pairs_first(
    {
        "variable": {variable: variable for variable in ADAMS_BASHFORTH},
        "order": {str(order): order for order in range(4)},
        "grid": {name: name for name in ("quadratic_t", "to_zero", "rising")},
        "schedule": SCHEDULES,
    },
)
@pytest.mark.each_value
def test_without_derivatives_genie_is_deis(variable: str, order: int, schedule: Schedule, grid: str) -> None:
    times = GRIDS[grid](schedule, STEPS)
    genie = solvers.genie_hermite(schedule, times, values=order + 1, derivatives=0, variable=variable)
    assert genie.allclose(ADAMS_BASHFORTH[variable](schedule, times, order=order))


@pytest.mark.parametrize("grid", ["quadratic_t", "to_zero"])
@every_schedule
def test_one_value_and_its_derivative_in_gamma_are_ttm2(schedule: Schedule, grid: str) -> None:
    times = GRIDS[grid](schedule, STEPS)
    hermite = everywhere(solvers.genie_hermite, schedule, times, values=1, derivatives=1, variable="gamma")
    assert hermite.allclose(everywhere(solvers.genie_ttm2, schedule, times))


@every_schedule
def test_one_value_and_its_correction_are_ttm2_in_log_gamma(schedule: Schedule) -> None:
    times = GRIDS["quadratic_t"](schedule, STEPS)
    assert solvers.genie_hermite(schedule, times, values=1).allclose(solvers.genie_ttm2(schedule, times))


def test_two_derivatives_are_exact_unless_told_and_never_corrections() -> None:
    times = GRIDS["karras"](VP, STEPS)
    assert solvers.genie_hermite(VP, times, derivatives=2).outputs == ("epsilon", "gamma_d_epsilon")
    with pytest.raises(ValueError, match="derivatives=2: a correction belongs to the newest prediction"):
        solvers.genie_hermite(VP, times, derivatives=2, derivative="correction")


def order_3(h: float, before: float) -> tuple[float, float, float, float]:
    """Weights of e_n, k_n, e_{n-1} and k_{n-1}."""
    r = h / before
    return h * (1 - r**2 / 3), h**2 * (1 / 2 + r / 3), h * r**2 / 3, 0.0


def order_4(h: float, before: float) -> tuple[float, float, float, float]:
    """h e + h^2/2 k + h^3/3 c + h^4/4 q,  c = 3 A/b^2 + B/b,  q = (2 A + B b)/b^3,  A = e_- - e + b k,  B = k_- - k."""
    of_a = h**3 / before**2 + h**4 / (2 * before**3)
    of_b = h**3 / (3 * before) + h**4 / (4 * before**2)
    return h - of_a, h**2 / 2 + of_a * before - of_b, of_a, of_b


@pytest.mark.parametrize(("derivatives", "formula"), [(1, order_3), (2, order_4)])
@every_schedule
@every_grid
@pytest.mark.each_value
def test_memory_in_gamma_has_the_closed_form(
    derivatives: int, formula: Callable[[float, float], tuple[float, ...]], schedule: Schedule, grid: str
) -> None:
    times = GRIDS[grid](schedule, STEPS)
    plan = everywhere(
        solvers.genie_hermite, schedule, times, values=2, derivatives=derivatives, variable="gamma"
    )  # fmt: skip
    expected = [row_in_gamma(formula, schedule, times, n) for n in range(1, STEPS)]
    assert worst([weights(plan, n) for n in range(1, STEPS)], expected) <= 1e-12


def row_in_gamma(
    formula: Callable[[float, float], tuple[float, ...]], schedule: Schedule, times: Array, n: int
) -> Weights:
    """alpha' times the formula of h and h_prev, the derivatives' weights per gamma_d_epsilon."""
    before, h = schedule.gamma_change(times[n - 1 : n + 1], times[n : n + 2]).tolist()
    past, gamma = schedule.gamma(times[n - 1 : n + 1]).tolist()
    e, k, e_past, k_past = (float(schedule.alpha(times[n + 1])) * weight for weight in formula(h, before))
    return {
        HistoryEntry(n, 0): e,
        HistoryEntry(n, 1): k / gamma,
        HistoryEntry(n - 1, 0): e_past,
        HistoryEntry(n - 1, 1): k_past / past,
    }


@every_schedule
@every_grid
@pytest.mark.each_value
def test_ttm2_of_x0_in_log_gamma_is_the_exponential_step(schedule: Schedule, grid: str) -> None:
    """v' = e^-r v + (1 - e^-r) D + (e^-r - 1 + r) D',  D' = dD/dlambda = gamma gamma_d_epsilon."""
    times = before_zero(grid, schedule)
    plan = everywhere(solvers.genie_ttm2, schedule, times, variable="log_gamma", quantity="x0")
    gamma, alpha, r = schedule.gamma(times[:-1]), schedule.alpha(times[1:]), -np.diff(schedule.log_gamma(times))
    of_d, of_slope = -alpha * np.expm1(-r), alpha * (np.expm1(-r) + r) * gamma
    expected = [{HistoryEntry(n, 0): of_d[n], HistoryEntry(n, 1): of_slope[n]} for n in range(STEPS)]
    assert worst([weights(plan, n) for n in range(STEPS)], expected) <= 1e-12


@every_schedule
def test_a_step_of_x0_in_log_gamma_to_clean_data_is_x0(schedule: Schedule) -> None:
    """Where r is infinite: D alone, whose coefficient is alpha."""
    plan = everywhere(
        solvers.genie_ttm2, schedule, GRIDS["to_zero"](schedule, STEPS), variable="log_gamma", quantity="x0"
    )
    assert weights(plan, STEPS - 1) == {HistoryEntry(STEPS - 1, 0): float(schedule.alpha(schedule.t_zero))}
    assert plan.rows[-1].x.x == 0.0


@every_schedule
@every_grid
@pytest.mark.each_value
def test_memory_of_x0_in_log_gamma_adds_the_second_difference(schedule: Schedule, grid: str) -> None:
    """+ c p3,  c = (D_- - D + m D')/m^2,  m = log(gamma_-/gamma),  p3 = r^2 - 2 r + 2 - 2 e^-r."""
    times = before_zero(grid, schedule)
    options: dict[str, Any] = {"variable": "log_gamma", "quantity": "x0"}
    plan = everywhere(solvers.genie_hermite, schedule, times, values=2, derivatives=1, **options)
    plain = everywhere(solvers.genie_ttm2, schedule, times, **options)
    expected = [with_second_difference(schedule, times, weights(plain, n), n) for n in range(1, STEPS)]
    assert worst([weights(plan, n) for n in range(1, STEPS)], expected) <= 1e-12


def with_second_difference(schedule: Schedule, times: Array, row: Weights, n: int) -> Weights:
    m, r = (-np.diff(schedule.log_gamma(times[n - 1 : n + 2]))).tolist()
    of_c = float(schedule.alpha(times[n + 1]) * (r**2 - 2 * r - 2 * np.expm1(-r))) / m**2
    of_slope = row[HistoryEntry(n, 1)] + of_c * m * float(schedule.gamma(times[n]))
    return {
        HistoryEntry(n, 0): row[HistoryEntry(n, 0)] - of_c,
        HistoryEntry(n, 1): of_slope,
        HistoryEntry(n - 1, 0): of_c,
    }


# --- what the network returns


def test_a_heads_outputs_combine_to_the_exact_derivative() -> None:
    """gamma k = -k1 + sigma^2 k2 + alpha^2 k3 on this schedule."""
    times = GRIDS["quadratic_t"](VP, STEPS)
    head, exact = (everywhere(solvers.genie_ttm2, VP, times, derivative=kind) for kind in ("head", "exact"))
    assert head.outputs == ("epsilon", "k1", "k2", "k3")
    mixed = np.array([row.converted[1].q[1:] for row in head.rows])
    squares = VP.sigma(times[:-1]) ** 2, VP.alpha(times[:-1]) ** 2
    assert mixed == pytest.approx(np.stack([np.full(STEPS, -1.0), *squares], axis=1), rel=1e-14, abs=0)
    assert [row.x for row in head.rows] == [row.x for row in exact.rows]


@pytest.mark.parametrize("order", range(3))
@pytest.mark.parametrize(
    ("variable", "build"),
    [("t", solvers.deis_tab), ("gamma", solvers.deis_rho_ab), ("log_gamma", solvers.deis_log_ab)],
)
@every_schedule
@pytest.mark.each_value
def test_a_correction_of_zero_leaves_deis(
    variable: str, build: Callable[..., Plan], order: int, schedule: Schedule
) -> None:
    times = GRIDS["quadratic_t"](schedule, STEPS)
    options: dict[str, Any] = {"values": order + 1, "derivatives": 1, "variable": variable}
    plan = everywhere(solvers.genie_hermite, schedule, times, derivative="correction", **options)
    assert plan.outputs == ("epsilon", "c1", "c2", "c3")
    expected = build(schedule, times, order=order).unrolled()
    assert plan.unrolled().state.tolist() == expected.state.tolist()
    assert plan.unrolled().output[..., 0].tolist() == expected.output[..., 0].tolist()


@every_schedule
@every_grid
@pytest.mark.each_value
def test_a_correction_is_the_derivative_beyond_the_slope_of_the_memory(schedule: Schedule, grid: str) -> None:
    times = before_zero(grid, schedule)
    hermite = everywhere(solvers.genie_hermite, schedule, times, values=2, derivatives=1, derivative="head")
    corrected = everywhere(solvers.genie_hermite, schedule, times, values=2, derivatives=1, derivative="correction")

    def with_slope(n: int) -> Weights:
        """The correction as gamma_d_epsilon - (e_n - e_{n-1}) / (s_n - s_{n-1}), s = log gamma."""
        row = weights(corrected, n)
        of_slope = row[HistoryEntry(n, 1)] / float(schedule.log_gamma(times[n]) - schedule.log_gamma(times[n - 1]))
        values = {
            HistoryEntry(n, 0): row[HistoryEntry(n, 0)] - of_slope,
            HistoryEntry(n - 1, 0): row[HistoryEntry(n - 1, 0)] + of_slope,
        }
        return {**values, HistoryEntry(n, 1): row[HistoryEntry(n, 1)]}

    actual = [with_slope(n) for n in range(1, STEPS)]
    assert worst(actual, [weights(hermite, n) for n in range(1, STEPS)]) <= 1e-12


@pytest.mark.parametrize("way", [1, -1], ids=["sample", "encode"])
def test_rows_beyond_the_threshold_read_the_prediction_only(way: int) -> None:
    """The threshold is the gamma of a node, which is on the near side."""
    times = grids.power_gamma(VP, 8)[::way]
    plan = solvers.genie_hermite(VP, times, derivative_below=float(VP.gamma(times)[4]))
    used = [len(row.converted) == 2 for row in plan.rows]
    assert used == ([False] * 4 + [True] * 4 if way == 1 else [True] * 5 + [False] * 3)


@pytest.mark.parametrize("threshold", [None, np.inf])
def test_no_threshold_is_written_as_none(threshold: float | None) -> None:
    plan = solvers.genie_ttm3(VP, GRIDS["karras"](VP, STEPS), derivative_below=threshold)
    assert plan.recipe is not None and plan.recipe.options["derivative_below"] is None
    assert gs.starting_at(Plan.from_json(plan.to_json()), 0) == plan


@pytest.mark.parametrize("name", ["genie_ttm2", "genie_ttm3", "genie_hermite3", "genie_hermite4"])
@pytest.mark.parametrize("derivative", ["exact", "head"])
def test_a_guided_plan_asks_for_every_output_twice(name: str, derivative: str) -> None:
    options = {} if name == "genie_ttm3" else {"derivative": derivative}
    plan = gs.make_plan(name, VP, 6, options=options).guided(2.0)
    assert plan.output_names == (*plan.outputs, *(f"uncond.{output}" for output in plan.outputs))


@pytest.mark.parametrize(("values", "derivatives"), [(1, 0), (1, 1), (3, 2), (4, 4), (2, 1), (2, 2)])
def test_any_number_of_values_and_derivatives_is_rebuilt_from_its_recipe(values: int, derivatives: int) -> None:
    plan = solvers.genie_hermite(VP, GRIDS["karras"](VP, STEPS), values=values, derivatives=derivatives)
    assert gs.starting_at(plan, 0) == plan


# --- there and back


def test_the_round_trip_of_ttm2_loses_an_order_less_than_one_way() -> None:
    """The error of even order cancels over the way back: N^-3 where one way has N^-2."""
    times = VP.time_of_gamma(np.geomspace(0.1, 2.0, 101)), VP.time_of_gamma(np.geomspace(0.1, 2.0, 201))
    coarse, fine = (round_trip(grid) for grid in times)
    assert np.log2(coarse / fine) == pytest.approx(3.0, abs=0.25)


def round_trip(times: Array) -> float:
    """Root mean square of what encoding and sampling change in five states."""
    there, back = (everywhere(solvers.genie_ttm2, VP, grid) for grid in (times, times[::-1]))
    encoded = execute(there, X_T, network_of(there, GOLDEN_MIXTURE, VP))[-1]
    return float(np.sqrt(np.mean((execute(back, encoded, network_of(back, GOLDEN_MIXTURE, VP))[-1] - X_T) ** 2)))


# --- what is refused


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"values": 5}, ValueError, "values=5; choose one of 1, 2, 3, 4"),
        ({"values": 2.0}, TypeError, "values=2.0: give an integer"),
        ({"values": 1, "derivatives": 2}, ValueError, "derivatives=2; choose one of 0, 1"),
        ({"variable": "rho"}, ValueError, "variable='rho'; choose one of t, gamma, log_gamma"),
        ({"quantity": "v"}, ValueError, "quantity='v'; choose one of epsilon, x0"),
        ({"derivative": "jvp"}, ValueError, "derivative='jvp'; choose one of exact, head"),
        ({"derivative_below": 0.0}, ValueError, "derivative_below=0.0; give a gamma > 0, or None"),
        ({"derivative_below": np.nan}, ValueError, "derivative_below=nan; give a gamma > 0, or None"),
        ({"derivative_below": "10"}, TypeError, "derivative_below='10': give a real number"),
        ({"afs": 1}, TypeError, "afs=1: give True or False"),
    ],
)
def test_bad_options_are_refused_with_their_fix(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        solvers.genie_hermite(VP, [1.0, 0.5, 1e-3], **options)
