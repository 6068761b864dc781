"""Transfers and Adams-Bashforth weights against 40-digit integrals of their definition."""

import numpy as np
import pytest
from mpmath import mp, mpf, sqrt

from genie_samplers import grids, numerics, schedules

from .exact_weights import (
    END,
    EPS,
    FORMS,
    SCHEDULES,
    TOLERANCE,
    VARIABLES,
    WEIGHTS,
    Exact,
    alpha_at,
    exact_weights,
    gamma_at,
    lagrange_powers,
    row_error,
    worst_row_error,
)
from .products import pairs_first

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(autouse=True)
def forty_digits():
    with mp.workdps(40):
        yield


def test_the_oracle_agrees_with_adaptive_quadrature_of_the_definition():
    """One row of tAB2, integrated over gamma with the inverse t(gamma)."""
    schedule, times, t_next = SCHEDULES["vp_linear"], [0.3, 0.6, 1.0], 0.05
    b0, slope = mpf(0.1), mpf(20.0) - mpf(0.1)

    def weight(gamma: Exact) -> Exact:
        t = (-b0 + sqrt(b0**2 + 2 * slope * mp.log1p(gamma**2))) / slope
        return (t - mpf(0.6)) * (t - 1) / ((mpf(0.3) - mpf(0.6)) * (mpf(0.3) - 1))

    ends = [gamma_at(schedule, mpf(0.3)), gamma_at(schedule, mpf(t_next))]
    adaptive = alpha_at(schedule, mpf(t_next)) * mp.quad(weight, ends)
    by_parts = exact_weights("epsilon", schedule, times, t_next, "t")[0]
    assert abs(by_parts - adaptive) <= mpf(10) ** -25 * abs(adaptive)


# Weights.


@pairs_first(
    {
        "case": {
            "vp_linear-0.001": ("vp_linear", 1e-3),
            "vp_linear-0.0001": ("vp_linear", 1e-4),
            "edm": ("edm", 0.002),
        },
        "steps": {"3": 3, "6": 6, "20": 20},
        "order": {"1": 1, "2": 2, "3": 3},
        "form": {form: form for form in FORMS},
        "variable": {variable: variable for variable in VARIABLES},
        "grid": {grid: grid for grid in grids.GRIDS},
    },
)
@pytest.mark.each_value
def test_whole_tables_meet_their_integrals(case, grid, steps, order, form, variable):
    name, t_end = case
    times = grids.GRIDS[grid](SCHEDULES[name], steps, t_end=t_end)
    assert worst_row_error(form, SCHEDULES[name], times, order, variable) <= TOLERANCE


@pytest.mark.parametrize("variable", VARIABLES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("steps", [3, 7])
@pytest.mark.parametrize("name", ["coarse_log_alpha", "coarse_alpha_bar"])
@pytest.mark.each_value
def test_steps_across_many_knots_meet_their_integrals(name, steps, form, variable):
    times = grids.quadratic_t(SCHEDULES[name], steps, t_end=-0.9)
    assert worst_row_error(form, SCHEDULES[name], times, 3, variable) <= TOLERANCE


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["ddpm_log_alpha", "ddpm_alpha_bar"])
def test_a_step_of_a_real_checkpoint_meets_its_integral(name, form):
    """tAB3, the fifth of ten quadratic steps, 359.64 to 249.75: 110 knots inside."""
    times = grids.quadratic_t(SCHEDULES[name], 10).tolist()
    assert row_error(form, SCHEDULES[name], times[4:0:-1], times[5], "t") <= TOLERANCE


@pytest.mark.parametrize("variable", VARIABLES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["vp_cosine", "sub_vp", "ve", "flow"])
@pytest.mark.parametrize("grid", ["quadratic_t", "karras"])
@pytest.mark.each_value
def test_whole_tables_of_further_schedules_meet_their_integrals(grid, name, form, variable):
    times = grids.GRIDS[grid](SCHEDULES[name], 6, t_end=END.get(name))
    assert worst_row_error(form, SCHEDULES[name], times, 3, variable) <= TOLERANCE


@pytest.mark.parametrize("variable", VARIABLES)
@pytest.mark.parametrize("form", FORMS)
def test_a_step_onto_the_tangent_of_ve_meets_its_integral(form, variable):
    assert row_error(form, SCHEDULES["ve"], [0.3, 0.6, 1.0], -0.1, variable) <= TOLERANCE


@pytest.mark.parametrize("variable", VARIABLES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "name", ["vp_linear", "vp_cosine", "sub_vp", "ve", "edm", "flow", "coarse_log_alpha", "coarse_alpha_bar"]
)
@pytest.mark.each_value
def test_rising_tables_meet_their_integrals(name, form, variable):
    times = grids.quadratic_t(SCHEDULES[name], 5, t_end=END.get(name))[::-1]
    assert worst_row_error(form, SCHEDULES[name], times, 3, variable) <= TOLERANCE


@pytest.mark.parametrize("variable", VARIABLES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("now", "t_next"), [(0.9, 1e-12), (1e-12, 0.9)])
def test_a_very_wide_step_meets_its_integral(now, t_next, form, variable):
    """17 units of log gamma: more than one panel can hold."""
    error = row_error(form, SCHEDULES["vp_linear"], [now, 0.95, 1.0], t_next, variable)
    assert error <= TOLERANCE


@pytest.mark.parametrize("variable", VARIABLES)
@pytest.mark.parametrize("form", FORMS)
def test_the_arrival_may_be_a_node_as_a_corrector_needs(form, variable):
    error = row_error(form, SCHEDULES["vp_linear"], [0.5, 0.3, 0.7], 0.3, variable)
    assert error <= TOLERANCE


# The end of the noise, gamma = 0.


@pytest.mark.parametrize("variable", ["gamma", "log_gamma"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_epsilon_weights_reach_t_zero(name, variable):
    schedule = SCHEDULES[name]
    times = grids.quadratic_t(schedule, 4).tolist()[-2:0:-1]
    assert row_error("epsilon", schedule, times, schedule.t_zero, variable) <= TOLERANCE


def by_parts_down_to_zero(schedule, k: int, t: float) -> Exact:
    """Integral of t^k dgamma from t to t_zero: adaptive, as gamma starts with a square root."""
    knots = [mpf(knot) for knot in schedule.knots if knot < t]

    def rest(x: Exact) -> Exact:
        return k * x ** (k - 1) * gamma_at(schedule, x) if k else mpf(0)

    top = mpf(t) ** k * gamma_at(schedule, mpf(t))
    return mp.quad(rest, [mpf(schedule.t_zero), *knots, mpf(t)]) - top


@pytest.mark.parametrize(
    ("name", "times"),
    [
        ("vp_linear", [0.2, 0.5, 1.0]),
        ("edm", [0.1, 3.0, 80.0]),
        ("coarse_log_alpha", [1.5, 4.0, 9.0]),
        ("coarse_alpha_bar", [1.5, 4.0, 9.0]),
    ],
)
def test_epsilon_weights_in_t_reach_t_zero(name, times):
    schedule = SCHEDULES[name]
    moments = [by_parts_down_to_zero(schedule, k, times[0]) for k in range(3)]
    exact = [mp.fdot(lagrange_powers(list(map(mpf, times)), j), moments) for j in range(3)]
    row = numerics.epsilon_weights(schedule, times, schedule.t_zero, variable="t")
    errors = np.abs(row - np.array(exact, dtype=np.float64))
    assert errors.max() <= TOLERANCE * np.abs(row).max()


@pytest.mark.parametrize("variable", ["t", "gamma"])
def test_epsilon_weights_may_start_at_t_zero(variable):
    """Encoding: the mirror image of the step to t_zero, with the nodes of the former."""
    schedule, nodes = SCHEDULES["coarse_alpha_bar"], [-1.0, 4.0, 0.5]
    row = numerics.epsilon_weights(schedule, nodes, 4.0, variable=variable)
    back = numerics.epsilon_weights(schedule, [4.0, -1.0, 0.5], -1.0, variable=variable)
    mirrored = -back[[1, 0, 2]] * float(schedule.alpha(4.0))
    assert np.abs(row - mirrored).max() <= TOLERANCE * np.abs(row).max()


@pytest.mark.parametrize("degree", [0, 1, 2])
@pytest.mark.parametrize("variable", ["t", "gamma"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_x0_weights_extrapolate_to_t_zero(name, variable, degree):
    """alpha' = 1 there, so x_0 = u^degree gives u(t_zero)^degree; 16 roundings a term."""
    schedule = SCHEDULES[name]
    nodes = grids.quadratic_t(schedule, 3).tolist()[-2::-1]
    at_zero = schedule.t_zero if variable == "t" else 0.0
    u = np.array(nodes) if variable == "t" else schedule.gamma(nodes)
    terms = numerics.x0_weights(schedule, nodes, schedule.t_zero, variable=variable) * u**degree
    assert abs(terms.sum() - at_zero**degree) <= 16.0 * EPS * np.abs(terms).sum()


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_last_step_to_t_zero_is_the_predicted_x0(name):
    schedule = SCHEDULES[name]
    time = END.get(name, schedule.t_end)
    row = numerics.x0_weights(schedule, [time], schedule.t_zero, variable="log_gamma")
    assert (row.tolist(), *numerics.x0_transfer(schedule, time, schedule.t_zero)) == (
        [1.0],
        0.0,
        1.0,
    )


# Order 0.


def close_pairs(schedule: schedules.Schedule) -> list[tuple[float, float]]:
    """Both ways: far, near, and down to neighbouring floats."""
    span = schedule.t_max - schedule.t_zero
    starts = schedule.t_zero + span * np.array([2e-3, 0.2, 0.55, 0.9])
    gaps = (0.0, 1e-12, 1e-8, 1e-4, 0.09)
    pairs = [(t, float(np.nextafter(t, np.inf)) + gap * span) for t in starts for gap in gaps]
    return [*pairs, *((b, a) for a, b in pairs)]


def relative_error(value: np.ndarray, exact: Exact) -> float:
    return float(abs(mpf(float(value)) / exact - 1))


def transfer_errors(form: str, schedule, t: float, t_next: float) -> list[float]:
    now, then = mpf(t), mpf(t_next)
    alpha, alpha_next = alpha_at(schedule, now), alpha_at(schedule, then)
    sigma = alpha * gamma_at(schedule, now)
    sigma_next = alpha_next * gamma_at(schedule, then)
    if form == "epsilon":
        base, weight = numerics.transfer(schedule, t, t_next)
        exact = alpha_next / alpha, sigma_next - alpha_next / alpha * sigma
    else:
        base, weight = numerics.x0_transfer(schedule, t, t_next)
        exact = sigma_next / sigma, alpha_next - sigma_next / sigma * alpha
    return [relative_error(base, exact[0]), relative_error(weight, exact[1])]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", SCHEDULES)
def test_transfers_keep_their_relative_accuracy_between_close_times(name, form):
    """To 1e-14, where plain differences of neighbouring floats have no digit left."""
    schedule = SCHEDULES[name]
    errors = [transfer_errors(form, schedule, *pair) for pair in close_pairs(schedule)]
    assert np.max(errors) <= 1e-14


@pytest.mark.parametrize("variable", VARIABLES)
@pytest.mark.parametrize("form", FORMS)
def test_order_0_is_the_transfer_in_every_variable(form, variable):
    schedule = SCHEDULES["vp_linear"]
    transfer = {"epsilon": numerics.transfer, "x0": numerics.x0_transfer}[form]
    row = WEIGHTS[form](schedule, [0.5], 0.4, variable=variable)
    assert row.tolist() == [transfer(schedule, 0.5, 0.4)[1]]


@pytest.mark.parametrize("variable", VARIABLES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("gap", [1e-2, 1e-5, 1e-8])
def test_weights_of_a_short_step_still_sum_to_the_transfer(gap, form, variable):
    """A constant is integrated exactly: 16 roundings a coefficient and 1e-14 for the transfer."""
    schedule, t_next = SCHEDULES["vp_linear"], 0.5 - gap
    transfer = {"epsilon": numerics.transfer, "x0": numerics.x0_transfer}[form]
    row = WEIGHTS[form](schedule, [0.5, 0.6, 0.8], t_next, variable=variable)
    total = transfer(schedule, 0.5, t_next)[1]
    assert abs(row.sum() - total) <= 16.0 * EPS * np.abs(row).sum() + 1e-14 * abs(total)


def test_transfers_work_elementwise():
    grid = grids.quadratic_t(SCHEDULES["vp_linear"], 5)
    base, weight = numerics.transfer(SCHEDULES["vp_linear"], grid[:-1], grid[1:])
    single = numerics.transfer(SCHEDULES["vp_linear"], grid[2], grid[3])
    assert base.shape == weight.shape == (5,)
    assert (base[2], weight[2]) == single


# Golden values, computed independently: VP linear, t^2 grid, N = 5, t_end = 1e-3.

GOLDEN = {
    "t": """
        -16.9913710744521
        -4.10678969224899 .889186125816773
        -1.5149368239724 .673678769352201 -.157961083667264
        -.697010605811356 .385663191202631 -.146971528746304 .0229046651219421
        -.226888235990163 .0817181376219079 -.0240441275242785 .00310629007715292
    """,
    "gamma": """
        -16.9913710745
        -3.29155007029 .0739465038564
        -1.09242652854 .0934081049243 -.000200714666896
        -.533631096237 .101122149823 -.0029056809725 3.4915381086e-07
        -.210224257076 .049150800766 -.00506568847744 3.12089721955e-05
    """,
    "log_gamma": """
        -16.9913710745
        -3.86282557171 .645222005281
        -1.42369659363 .499142239627 -.0746647842797
        -.86855970779 .626375095393 -.212115086588 .0188854207517
        -.524194602629 .782707477128 -.5149530385 .0903322281863
    """,
}
GOLDEN_ROWS = [
    pytest.param(variable, step, row.split(), id=f"{variable}-row_{step}")
    for variable, text in GOLDEN.items()
    for step, row in enumerate(text.split("\n")[1:-1])
]


def last_digit(printed: str) -> float:
    """The unit of the last printed digit."""
    digits, _, exponent = printed.partition("e")
    return 10.0 ** (int(exponent or 0) - len(digits.partition(".")[2]))


@pytest.mark.parametrize(("variable", "step", "printed"), GOLDEN_ROWS)
def test_golden_rows_agree_in_every_printed_digit(variable, step, printed):
    """Half a unit of the last digit, and rounding of the row: 16 times its largest coefficient."""
    schedule = SCHEDULES["vp_linear"]
    times = grids.quadratic_t(schedule, 5, t_end=1e-3)
    nodes = times[max(step - 3, 0) : step + 1][::-1]
    row = numerics.epsilon_weights(schedule, nodes, float(times[step + 1]), variable=variable)
    assert row.shape == (len(printed),)
    slack = 0.5 * np.array(list(map(last_digit, printed))) + 16.0 * EPS * np.abs(row).max()
    assert np.all(np.abs(row - np.array(printed, dtype=np.float64)) <= slack)


@pytest.mark.parametrize(
    ("step", "printed"),
    [
        (0, "17.9847506170809"),
        (1, "4.11992209034839"),
        (2, "1.74641541463291"),
        (3, "1.15802979052364"),
        (4, "1.01541876487882"),
    ],
)
def test_golden_base_coefficients_agree_in_every_printed_digit(step, printed):
    times = grids.quadratic_t(SCHEDULES["vp_linear"], 5, t_end=1e-3)
    base = numerics.transfer(SCHEDULES["vp_linear"], times[step], times[step + 1])[0]
    assert abs(base - float(printed)) <= 0.5 * last_digit(printed) + 16.0 * EPS * base


# What is refused.


@pytest.mark.parametrize(
    ("times", "t_next", "variable", "message"),
    [
        ([0.5], 0.4, "rho", "variable='rho': choose one of .*'log_gamma'"),
        ([], 0.4, "t", r"times has shape \(0,\), t_next \(\): give 1 or more times"),
        (0.5, 0.4, "t", r"times has shape \(\)"),
        ([0.5], [0.4], "t", r"t_next \(1,\)"),
        ([0.5, 0.6], 0.5, "t", r"t_next=0.5 is times\[0\]: a step needs two different times"),
        ([0.5, 0.6, 0.6], 0.4, "t", r"times=\[0.5, 0.6, 0.6\]: the nodes must differ"),
        ([0.5, 0.0], 0.4, "log_gamma", "times holds t_zero=0.0, where log_gamma = -inf: inter"),
        ([0.5, 1.1], 0.4, "t", "t=1.1 is outside"),
        ([0.5], -0.1, "t", "t=-0.1 is outside"),
    ],
)
@pytest.mark.parametrize("form", FORMS)
def test_nodes_that_make_no_step_are_refused(form, times, t_next, variable, message):
    with pytest.raises(ValueError, match=message):
        WEIGHTS[form](SCHEDULES["vp_linear"], times, t_next, variable=variable)


def test_x0_cannot_be_extrapolated_to_t_zero_in_log_gamma():
    with pytest.raises(ValueError, match=r"t_next=0.0 is t_zero, .*give a single node"):
        numerics.x0_weights(SCHEDULES["vp_linear"], [0.1, 0.2], 0.0, variable="log_gamma")


@pytest.mark.parametrize("variable", VARIABLES)
def test_the_x0_form_cannot_start_at_t_zero(variable):
    with pytest.raises(ValueError, match=r"t=0.0 is t_zero, where sigma = 0: use the eps"):
        numerics.x0_weights(SCHEDULES["vp_linear"], [0.0], 0.4, variable=variable)
