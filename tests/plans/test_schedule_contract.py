"""What schedules promise beside their numbers: ranges, labels, shapes, errors and JSON."""

import json
import math
from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest

from genie_samplers import schedules

from .schedule_cases import METHODS, RATES, SCHEDULES

pytestmark = pytest.mark.filterwarnings("error")

EPS = float(np.finfo(np.float64).eps)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("vp_linear", (0.0, 1.0, 1e-3)),
        ("vp_cosine", (0.0, 0.9946, 1e-3)),
        ("vp_cosine_unnormalized", (-0.008, 0.9946, 1e-3)),
        ("sub_vp", (0.0, 1.0, 1e-3)),
        ("ve", (-1.0 / math.log(5000.0), 1.0, 1e-5)),
        ("edm", (0.0, 80.0, 0.002)),
        ("flow", (0.0, 4096.0 / 4097.0, 0.0)),
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
        ("vp_cosine", 0.25, 249.75),
        ("vp_cosine_unnormalized", -0.004, 0.0),
        ("sub_vp", 0.25, 249.75),
        ("ve", 0.0, 0.01),
        ("ve", -0.1, 0.01),
        ("ve", 0.5, SCHEDULES["ve"].sigma(0.5)),
        ("edm", 80.0, 80.0),
        ("edm", 0.0, 0.0),
        ("flow", 0.25, 250.0),
        ("flow_far", 0.25, 0.25),
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


def test_the_exponential_of_ve_goes_on_along_its_tangent():
    schedule = SCHEDULES["ve"]
    below, above = schedule.gamma_change(0.0, [-1e-9, 1e-9])
    assert schedule.knots == (0.0,)
    assert abs(below / above + 1.0) <= 1e-9 / -schedule.t_zero + 8.0 * EPS  # second order, and roundings


def test_rates_at_a_knot_are_those_of_the_piece_below():
    schedule = SCHEDULES["odd_alpha_bar"]
    below, knot, above = schedule.diffusion_squared([3.0 - 1e-9, 3.0, 3.0 + 1e-9])
    assert abs(knot / below - 1.0) < 1e-6 < abs(knot / above - 1.0)


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3)])
@pytest.mark.parametrize("method", [*METHODS, *RATES, "label", "time_of_gamma", "time_of_half_log_snr"])
@pytest.mark.parametrize(
    "name", ["vp_linear", "vp_cosine", "sub_vp", "ve", "edm", "flow", "odd_log_alpha", "odd_alpha_bar"]
)
def test_results_are_new_float64_values_of_the_input_shape(name, method, shape):
    values = np.full(shape, 0.5, dtype=np.float64)
    result = getattr(SCHEDULES[name], method)(values)
    assert isinstance(result, np.ndarray if shape else np.float64)
    assert result.shape == shape
    assert result.dtype == np.float64
    assert not np.shares_memory(result, values)


@pytest.mark.parametrize("t", [-1e-300, 1.0 + EPS, np.nan, np.inf, [0.5, 2.0]])
@pytest.mark.parametrize("method", [*METHODS, *RATES, "label"])
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
        (schedules.sub_vp, {"beta_min": 0.0}, "beta_min=0.0, beta_max=20.0: choose 0 <"),
        (schedules.vp_cosine, {"s": -0.1}, "s=-0.1, t_max=0.9946: choose 0 <= s <= 1"),
        (schedules.vp_cosine, {"s": 1.1}, "s=1.1"),
        (schedules.vp_cosine, {"t_max": 1.0}, "t_max=1.0: choose .* 0.001 < t_max < 1"),
        (schedules.vp_cosine, {"t_max": 1e-3}, "t_max=0.001"),
        (schedules.ve, {"sigma_min": 0.0}, "sigma_min=0.0, sigma_max=50.0: choose 0 < sigma_min"),
        (schedules.ve, {"sigma_max": 0.01}, "choose 0 < sigma_min < sigma_max"),
        (schedules.ve, {"sigma_min": 1e-300, "sigma_max": 1e300}, "a finite ratio"),
        (schedules.ve, {"sigma_max": np.nan}, "sigma_max=nan"),
        (schedules.flow, {"t_max": 1.0 + EPS}, "t_max=1.0000000000000002: choose 0.5 <= t_max <= 1"),
        (schedules.flow, {"t_max": 0.49}, "t_max=0.49: choose 0.5 <= t_max <= 1; t = 1 is pure noise"),
        (schedules.flow, {"label_scale": 0.0}, "shift=1.0, label_scale=0.0: choose .* 0 < label_scale"),
        (schedules.flow, {"shift": 0.0}, "shift=0.0, label_scale=1000.0: choose 0 < shift < inf"),
        (schedules.flow, {"shift": np.inf}, "shift=inf, .*: choose 0 < shift < inf"),
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
        ([0.9, 0.0, 0.0], r"=0.0 is outside .*only the last may be 0"),
        ([1.1, 0.5], "=1.1 is outside"),
        ([0.9, np.nan], "=nan is outside"),
        ([[0.9], [0.8, 0.7]], "alphas_cumprod: lists of different lengths"),
    ],
)
def test_a_table_that_is_no_product_of_one_minus_beta_is_refused(table, message):
    with pytest.raises(ValueError, match=message):
        schedules.from_alphas_cumprod(table)


def test_an_unknown_interpolation_is_refused():
    with pytest.raises(ValueError, match="interpolation='cubic'; choose one of log_alpha, alpha_bar"):
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


@pytest.mark.parametrize("build", [schedules.vp_linear, schedules.sub_vp, schedules.ve, schedules.edm])
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
