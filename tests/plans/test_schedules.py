"""Schedules against 50-digit formulas written from their definitions."""

from collections.abc import Callable

import numpy as np
import pytest
from mpmath import exp, log, mp, mpf

from genie_samplers import schedules

from . import exact_schedules
from .exact_schedules import Exact
from .schedule_cases import METHODS, RATES, SCHEDULES, TABLES

pytestmark = pytest.mark.filterwarnings("error")

EPS = float(np.finfo(np.float64).eps)
TOLERANCE = 1e-13  # of max(|value|, condition number * |input|): the promise of the module
TINY = mpf(10) ** -20  # relative step of the difference quotients, at 50 digits


@pytest.fixture(autouse=True)
def fifty_digits():
    with mp.workdps(50):
        yield


# The formulas, at 50 digits.


def exact(name: str, method: str, t: Exact) -> Exact:
    schedule = SCHEDULES[name]
    if method == "sigma":
        return exact_schedules.alpha_at(schedule, t) * exact_schedules.gamma_at(schedule, t)
    if method == "log_gamma":
        return log(exact_schedules.gamma_at(schedule, t))
    if method == "half_log_snr":
        return -log(exact_schedules.gamma_at(schedule, t))
    return getattr(exact_schedules, f"{method}_at")(schedule, t)


# How far a result is from them.


def sample_times(name: str) -> np.ndarray:
    """From 1e-12 above t_zero to t_max, dense at both ends and around the knots."""
    schedule = SCHEDULES[name]
    span = schedule.t_max - schedule.t_zero
    near_zero = schedule.t_zero + np.geomspace(1e-12, span / 3.0, 25)
    near_max = schedule.t_max - np.geomspace(1e-12, span / 3.0, 15)
    knots = np.array(schedule.knots)[:: max(len(schedule.knots) // 6, 1)]
    around = np.concatenate((knots - 1e-12, knots, knots + 1e-12))
    inner = np.linspace(schedule.t_zero, schedule.t_max, 17)[1:]
    return np.unique(np.concatenate((near_zero, near_max, around, inner)))


def sample_gammas(name: str) -> np.ndarray:
    schedule = SCHEDULES[name]
    return np.geomspace(1e-12, schedule.gamma(schedule.t_max), 60)


def worst(computed: np.ndarray, formula: Callable[[Exact], Exact], inputs: np.ndarray) -> float:
    """Largest error in units of max(|value|, condition number * |input|)."""
    pairs = zip(computed.tolist(), map(mpf, inputs.tolist()), strict=True)
    return max(one_error(value, formula, x) for value, x in pairs)


def one_error(value: float, formula: Callable[[Exact], Exact], x: Exact) -> float:
    true = formula(x)
    sensitivity = abs(formula(x * (1 - TINY)) - true) / TINY if x else mpf(0)
    error, scale = abs(value - true), max(abs(true), sensitivity)
    return float(error / scale) if error else 0.0


@pytest.mark.parametrize("method", [*METHODS, *RATES])
@pytest.mark.parametrize("name", SCHEDULES)
def test_every_function_of_time_is_accurate_to_its_conditioning(name, method):
    times = sample_times(name)
    computed = getattr(SCHEDULES[name], method)(times)
    assert worst(computed, lambda t: exact(name, method, t), times) <= TOLERANCE


@pytest.mark.parametrize("name", SCHEDULES)
def test_time_of_gamma_is_accurate_to_its_conditioning(name):
    gammas = sample_gammas(name)
    computed = SCHEDULES[name].time_of_gamma(gammas)
    assert worst(computed, lambda g: exact_schedules.time_at(SCHEDULES[name], g), gammas) <= TOLERANCE


@pytest.mark.parametrize("name", SCHEDULES)
def test_time_of_half_log_snr_is_accurate_to_its_conditioning(name):
    half_log_snr = -np.log(sample_gammas(name))
    computed = SCHEDULES[name].time_of_half_log_snr(half_log_snr)
    assert worst(computed, lambda v: exact_schedules.time_at(SCHEDULES[name], exp(-v)), half_log_snr) <= TOLERANCE


@pytest.mark.parametrize("gap", ["one_rounding", 1e-13, 1e-9, 1e-4, 0.1])
@pytest.mark.parametrize("name", SCHEDULES)
def test_gamma_change_keeps_its_relative_accuracy_between_close_times(name, gap):
    """exp(y), y = -log alpha-bar or VE's log(sigma / sigma_min), costs y + 1 roundings; sixteen cover the rest."""
    schedule, times = SCHEDULES[name], sample_times(name)
    times = times[times > schedule.t_zero + 1e-6][:-1]
    reach = times - 2.0 * schedule.t_zero + 1.0
    later = np.minimum(times + (np.spacing(reach) if gap == "one_rounding" else gap * reach), schedule.t_max)
    growth = log(schedule.sigma_max / schedule.sigma_min) if isinstance(schedule, schedules.VE) else 0
    roundings = 17.0 - 2.0 * float(schedule.log_alpha(schedule.t_max)) + float(growth)

    def change(t: float, t_next: float) -> Exact:
        return exact(name, "gamma", mpf(t_next)) - exact(name, "gamma", mpf(t))

    true = np.array(list(map(change, times.tolist(), later.tolist())))
    up = np.abs(schedule.gamma_change(times, later) - true) / true
    down = np.abs(schedule.gamma_change(later, times) + true) / true
    assert max(up.max(), down.max()) <= roundings * EPS


@pytest.mark.parametrize(
    ("printed", "value"),
    [
        (".006571586494929619", schedules.vp_linear().alpha(1.0)),
        (".9999784068923386", schedules.vp_linear().sigma(1.0)),
        ("152.1669702839464", schedules.vp_linear().gamma(1.0)),
        (".010485992786703", schedules.vp_linear().gamma(1e-3)),
        (".00317797907484014", schedules.vp_linear().gamma(1e-4)),
        ("118.832885835266801", schedules.vp_cosine(normalized=False).gamma(0.9946)),
        (".014025886844854", schedules.vp_cosine(normalized=False).gamma(1e-3)),
        ("50.000000000000", schedules.ve().sigma(1.0)),
        ("4096.00000000", schedules.flow(t_max=4096.0 / 4097.0).gamma(schedules.flow(t_max=4096.0 / 4097.0).t_max)),
    ],
)
def test_golden_scalars_agree_in_every_printed_digit(printed, value):
    half_a_digit = 0.5 * 10.0 ** -len(printed.partition(".")[2])
    assert abs(value - float(printed)) <= half_a_digit + 4.0 * EPS * float(printed)


@pytest.mark.parametrize("name", TABLES)
def test_the_table_itself_is_met_at_its_indices(name):
    table = np.array(SCHEDULES[name].alphas_cumprod)
    alpha_bar = SCHEDULES[name].alpha(np.arange(table.size)) ** 2
    roundings = 4.0 - np.log(table)  # exp(-B) of a rounded B
    assert np.all(np.abs(alpha_bar - table) <= roundings * EPS * table)


@pytest.mark.parametrize("name", SCHEDULES)
def test_clean_data_lies_at_t_zero(name):
    schedule = SCHEDULES[name]
    at_zero = [getattr(schedule, method)(schedule.t_zero) for method in METHODS]
    assert at_zero == [1.0, 0.0, 0.0, 0.0, -np.inf, np.inf]
    assert schedule.time_of_gamma(0.0) == schedule.t_zero
    assert schedule.time_of_half_log_snr(np.inf) == schedule.t_zero


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_inverses_stay_inside_the_schedule_at_its_noisy_end(name):
    schedule = SCHEDULES[name]
    by_gamma = schedule.time_of_gamma(schedule.gamma(schedule.t_max) * (1.0 + 9e-13))
    by_snr = schedule.time_of_half_log_snr(schedule.half_log_snr(schedule.t_max) - 9e-13)
    assert by_gamma == by_snr == schedule.t_max
