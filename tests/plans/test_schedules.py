"""Schedules against 50-digit formulas written from their definitions."""

import json
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest
from mpmath import exp, expm1, log, log1p, mp, mpf, sqrt

from genie_samplers import schedules

pytestmark = pytest.mark.filterwarnings("error")

Exact = Any  # an mpmath number
EPS = float(np.finfo(np.float64).eps)
TOLERANCE = 1e-13  # of max(|value|, condition number * |input|): the promise of the module
TINY = mpf(10) ** -20  # relative step of the difference quotients, at 50 digits

DDPM_TABLE = tuple(np.cumprod(1.0 - np.linspace(1e-4, 2e-2, 1000)).tolist())
ODD_TABLE = (1.0 - 1e-10, 0.9999, 0.5, 0.49, 1e-3, 4.6e-5, 1e-9)

SCHEDULES = {
    "vp_linear": schedules.vp_linear(),
    "vp_constant_beta": schedules.vp_linear(beta_min=0.7, beta_max=0.7),
    "vp_steep": schedules.vp_linear(beta_min=1e-3, beta_max=1000.0),
    "edm": schedules.edm(),
    "ddpm_log_alpha": schedules.from_alphas_cumprod(DDPM_TABLE),
    "ddpm_alpha_bar": schedules.from_alphas_cumprod(DDPM_TABLE, interpolation="alpha_bar"),
    "odd_log_alpha": schedules.from_alphas_cumprod(ODD_TABLE),
    "odd_alpha_bar": schedules.from_alphas_cumprod(ODD_TABLE, interpolation="alpha_bar"),
}
TABLES = sorted(name for name in SCHEDULES if "ddpm" in name or "odd" in name)
METHODS = ("alpha", "log_alpha", "sigma", "gamma", "log_gamma", "half_log_snr")


@pytest.fixture(autouse=True)
def fifty_digits():
    with mp.workdps(50):
        yield


# The formulas, at 50 digits.


def exact_decay(name: str, t: Exact) -> Exact:
    """B = -log alpha-bar of a variance preserving schedule."""
    schedule = SCHEDULES[name]
    if name.startswith("vp"):
        b0, b1 = mpf(schedule.beta_min), mpf(schedule.beta_max)
        return (b1 - b0) * t**2 / 2 + b0 * t
    bar = (1.0, *schedule.alphas_cumprod)
    i = min(max(int(mp.floor(t)) + 1, 0), len(bar) - 2)
    f, low, high = t - (i - 1), mpf(bar[i]), mpf(bar[i + 1])
    if schedule.interpolation == "alpha_bar":
        return -log(low + f * (high - low))
    return -(log(low) + f * (log(high) - log(low)))


def exact(name: str, method: str, t: Exact) -> Exact:
    decay = mpf(0) if name == "edm" else exact_decay(name, t)
    gamma = t if name == "edm" else sqrt(expm1(decay))
    if method in ("log_gamma", "half_log_snr"):
        return log(gamma) if method == "log_gamma" else -log(gamma)
    values = {"alpha": exp(-decay / 2), "log_alpha": -decay / 2, "gamma": gamma}
    return values["alpha"] * gamma if method == "sigma" else values[method]


def exact_time(name: str, gamma: Exact) -> Exact:
    schedule, decay = SCHEDULES[name], log1p(gamma**2)
    if name == "edm":
        return gamma
    if name.startswith("vp"):
        b0, slope = mpf(schedule.beta_min), mpf(schedule.beta_max) - mpf(schedule.beta_min)
        return decay / b0 if slope == 0 else (-b0 + sqrt(b0**2 + 2 * slope * decay)) / slope
    bar = (1.0, *schedule.alphas_cumprod)
    alpha_bar = exp(-decay)
    i = max(sum(alpha_bar <= entry for entry in bar[:-1]) - 1, 0)
    low, high = mpf(bar[i]), mpf(bar[i + 1])
    if schedule.interpolation == "alpha_bar":
        return i - 1 + (low - alpha_bar) / (low - high)
    return i - 1 + (decay + log(low)) / (log(low) - log(high))


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


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", SCHEDULES)
def test_every_function_of_time_is_accurate_to_its_conditioning(name, method):
    times = sample_times(name)
    computed = getattr(SCHEDULES[name], method)(times)
    assert worst(computed, lambda t: exact(name, method, t), times) <= TOLERANCE


@pytest.mark.parametrize("name", SCHEDULES)
def test_time_of_gamma_is_accurate_to_its_conditioning(name):
    gammas = sample_gammas(name)
    computed = SCHEDULES[name].time_of_gamma(gammas)
    assert worst(computed, lambda g: exact_time(name, g), gammas) <= TOLERANCE


@pytest.mark.parametrize("name", SCHEDULES)
def test_time_of_half_log_snr_is_accurate_to_its_conditioning(name):
    half_log_snr = -np.log(sample_gammas(name))
    computed = SCHEDULES[name].time_of_half_log_snr(half_log_snr)
    assert worst(computed, lambda v: exact_time(name, exp(-v)), half_log_snr) <= TOLERANCE


@pytest.mark.parametrize("gap", ["one_rounding", 1e-13, 1e-9, 1e-4, 0.1])
@pytest.mark.parametrize("name", SCHEDULES)
def test_gamma_change_keeps_its_relative_accuracy_between_close_times(name, gap):
    """exp(B), B = -log alpha-bar, costs B + 1 roundings; sixteen cover the rest of the formula."""
    schedule, times = SCHEDULES[name], sample_times(name)
    times = times[times > schedule.t_zero + 1e-6][:-1]
    later = times + (np.spacing(times + 2.0) if gap == "one_rounding" else gap * (times + 2.0))
    later = np.minimum(later, schedule.t_max)
    roundings = 17.0 - 2.0 * float(schedule.log_alpha(schedule.t_max))

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


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("vp_linear", (0.0, 1.0, 1e-3)),
        ("edm", (0.0, 80.0, 0.002)),
        ("ddpm_log_alpha", (-1.0, 999.0, 0.0)),
        ("odd_alpha_bar", (-1.0, 6.0, 0.0)),
    ],
)
def test_ranges_are_those_of_the_documentation(name, expected):
    schedule = SCHEDULES[name]
    assert (schedule.t_zero, schedule.t_max, schedule.t_end) == expected


@pytest.mark.parametrize(
    ("name", "t", "label"),
    [
        ("vp_linear", 0.25, 249.75),
        ("edm", 80.0, 80.0),
        ("edm", 0.0, 0.0),
        ("ddpm_alpha_bar", 4.5, 4.5),
        ("ddpm_alpha_bar", -0.5, 0.0),
        ("ddpm_log_alpha", -1.0, 0.0),
    ],
)
def test_labels_are_what_the_networks_of_the_schedule_want(name, t, label):
    assert SCHEDULES[name].label(t) == label


def test_a_table_is_kinked_at_every_index_but_its_last():
    assert SCHEDULES["odd_log_alpha"].knots == (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)
    assert SCHEDULES["vp_linear"].knots == SCHEDULES["edm"].knots == ()


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3)])
@pytest.mark.parametrize("method", [*METHODS, "label", "time_of_gamma", "time_of_half_log_snr"])
@pytest.mark.parametrize("name", ["vp_linear", "edm", "odd_log_alpha", "odd_alpha_bar"])
def test_results_are_new_float64_values_of_the_input_shape(name, method, shape):
    values = np.full(shape, 0.5, dtype=np.float64)
    result = getattr(SCHEDULES[name], method)(values)
    assert isinstance(result, np.ndarray if shape else np.float64)
    assert result.shape == shape
    assert result.dtype == np.float64
    assert not np.shares_memory(result, values)


@pytest.mark.parametrize("t", [-1e-300, 1.0 + EPS, np.nan, np.inf, [0.5, 2.0]])
@pytest.mark.parametrize("method", [*METHODS, "label"])
def test_a_time_outside_the_schedule_is_refused(method, t):
    with pytest.raises(ValueError, match=r"t=.* is outside \[0.0, 1.0\]: take times from a grid"):
        getattr(SCHEDULES["vp_linear"], method)(t)


@pytest.mark.parametrize("gamma", [-1e-300, 80.0 * (1.0 + 2e-12), np.nan])
def test_a_gamma_outside_the_schedule_is_refused(gamma):
    with pytest.raises(ValueError, match=r"gamma=.* is outside .*: clip it to"):
        SCHEDULES["edm"].time_of_gamma(gamma)


@pytest.mark.parametrize("half_log_snr", [-np.log(80.0) - 2e-12, -np.inf, np.nan])
def test_a_half_log_snr_outside_the_schedule_is_refused(half_log_snr):
    with pytest.raises(ValueError, match=r"half_log_snr=.* is outside .*: clip it to"):
        SCHEDULES["edm"].time_of_half_log_snr(half_log_snr)


@pytest.mark.parametrize("t", ["now", None, True, 1j])
def test_times_that_are_not_real_numbers_are_a_type_error(t):
    with pytest.raises(TypeError, match=r"t has dtype .*: give real numbers"):
        SCHEDULES["vp_linear"].alpha(t)


@pytest.mark.parametrize(
    ("build", "options", "message"),
    [
        (schedules.vp_linear, {"beta_min": 0.0}, "beta_min=0.0, beta_max=20.0: choose 0 <"),
        (schedules.vp_linear, {"beta_min": 21.0}, "choose 0 < beta_min <= beta_max"),
        (schedules.vp_linear, {"beta_max": 1400.0}, "a sum of at most 1400"),
        (schedules.vp_linear, {"beta_max": np.nan}, "beta_max=nan"),
        (schedules.edm, {"gamma_min": 0.0}, "gamma_min=0.0, gamma_max=80.0: choose 0 <"),
        (schedules.edm, {"gamma_max": 0.002}, "choose 0 < gamma_min < gamma_max"),
        (schedules.edm, {"gamma_max": np.inf}, "gamma_max=inf"),
    ],
)
def test_impossible_options_are_refused_with_the_fix(build, options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([0.5], r"shape \(1,\): give 2 or more"),
        ([[0.9, 0.8]], r"shape \(1, 2\): give 2 or more numbers in 1-D"),
        ([1.0, 0.5], r"alphas_cumprod\[0\]=1.0 does not fall from 1.0"),
        ([0.9, 0.5, 0.5], r"alphas_cumprod\[2\]=0.5 does not fall from 0.5"),
        ([0.9, 0.0], "=0.0 is outside .*drop a last entry of 0"),
        ([1.1, 0.5], "=1.1 is outside"),
        ([0.9, np.nan], "=nan is outside"),
        ([[0.9], [0.8, 0.7]], "alphas_cumprod: lists of different lengths"),
    ],
)
def test_a_table_that_is_no_product_of_one_minus_beta_is_refused(table, message):
    with pytest.raises(ValueError, match=message):
        schedules.from_alphas_cumprod(table)


def test_an_unknown_interpolation_is_refused():
    with pytest.raises(ValueError, match="interpolation='cubic': choose 'log_alpha' or"):
        schedules.from_alphas_cumprod([0.9, 0.8], interpolation="cubic")


@pytest.mark.parametrize("value", ["0.1", None, True])
def test_options_that_are_not_numbers_are_a_type_error(value):
    with pytest.raises(TypeError, match=r"beta_min=.*: give a real number"):
        schedules.vp_linear(beta_min=value)


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_survives_json(name):
    schedule = SCHEDULES[name]
    rebuilt = schedules.from_dict(json.loads(json.dumps(schedule.to_dict(), allow_nan=False)))
    assert rebuilt == schedule
    assert hash(rebuilt) == hash(schedule)
    assert rebuilt.to_dict() == schedule.to_dict()


def test_schedules_differ_exactly_where_their_options_do():
    assert len(set(SCHEDULES.values())) == len(SCHEDULES)


@pytest.mark.parametrize("build", [schedules.vp_linear, schedules.edm])
def test_equal_options_of_other_number_types_give_equal_json(build):
    plain, mixed = build(1.0, 64.0), build(1, *np.array([64], dtype=np.float32))
    assert json.dumps(plain.to_dict()) == json.dumps(mixed.to_dict())


def test_a_schedule_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        schedules.edm().gamma_max = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({}, "schedule name=None: choose one of"),
        ({"name": ["edm"]}, r"schedule name=\['edm'\]: choose one of"),
        ({"name": "cosine"}, "schedule name='cosine': choose one of"),
        ({"name": "edm", "gamma_min": 0.1}, r"give exactly \['gamma_min', 'gamma_max'\]"),
        ({"name": "edm", "gamma_min": 0.1, "gamma_max": 9.0, "rho": 7}, "give exactly"),
        ({"name": "edm", "gamma_min": 0.1, 3: 9.0}, "give exactly"),
        ({"name": "edm", "gamma_min": 0.1, "gamma_max": 10**400}, "gamma_max: an integer beyond float64"),
    ],
)
def test_a_recipe_of_no_known_schedule_is_refused(recipe, message):
    with pytest.raises(ValueError, match=message):
        schedules.from_dict(recipe)


@pytest.mark.parametrize("recipe", [[1], "edm", None])
def test_a_recipe_is_a_mapping(recipe: Any) -> None:
    with pytest.raises(TypeError, match=r"schedule recipe=.*: give the mapping that to_dict returned"):
        schedules.from_dict(recipe)
