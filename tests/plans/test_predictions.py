"""Prediction maps against their definitions, on states built from x_0 and eps."""

import numpy as np
import pytest
from numpy.typing import ArrayLike

from genie_samplers import predictions, schedules

pytestmark = pytest.mark.filterwarnings("error")

EPS = float(np.finfo(np.float64).eps)
X0, NOISE = 0.7, -1.3
SCHEDULES = {
    "vp_linear": schedules.vp_linear(),
    "edm": schedules.edm(),  # alpha^2 + sigma^2 != 1 and alpha + sigma != 1
    "table": schedules.from_alphas_cumprod([0.99, 0.6, 0.2, 0.01]),
}
MAPS = {"epsilon": predictions.to_epsilon, "x0": predictions.to_x0}


def times_of(schedule: schedules.Schedule) -> np.ndarray:
    """Seven times in (t_zero, t_max]."""
    return np.linspace(schedule.t_zero, schedule.t_max, 8)[1:]


def network_output(prediction: str, alpha: ArrayLike, sigma: ArrayLike) -> np.ndarray:
    alpha, sigma = np.asarray(alpha), np.asarray(sigma)
    return {
        "epsilon": NOISE + 0.0 * sigma,
        "x0": X0 + 0.0 * sigma,
        "v": alpha * NOISE - sigma * X0,
        "score": -NOISE / np.where(sigma > 0.0, sigma, 1.0),
        "flow": NOISE - X0 + 0.0 * sigma,
    }[prediction]


@pytest.mark.parametrize("target", MAPS)
@pytest.mark.parametrize("prediction", predictions.PREDICTIONS)
@pytest.mark.parametrize("name", SCHEDULES)
def test_every_prediction_gives_back_what_made_the_state(name, prediction, target):
    """x, out, p and q carry at most 8 roundings each, counted on the terms that are summed."""
    schedule = SCHEDULES[name]
    times = times_of(schedule)
    alpha, sigma = schedule.alpha(times), schedule.sigma(times)
    out = network_output(prediction, alpha, sigma)
    p, q = MAPS[target](prediction, schedule, times)
    result = p * (alpha * X0 + sigma * NOISE) + q * out
    size = np.abs(p) * (alpha * abs(X0) + sigma * abs(NOISE)) + np.abs(q) * (
        np.abs(out) + alpha * abs(NOISE) + sigma * abs(X0)
    )
    assert np.all(np.abs(result - {"epsilon": NOISE, "x0": X0}[target]) <= 16.0 * EPS * size)


@pytest.mark.parametrize("target", MAPS)
@pytest.mark.parametrize("name", SCHEDULES)
def test_what_is_predicted_already_is_passed_on_exactly(name, target):
    p, q = MAPS[target](target, SCHEDULES[name], times_of(SCHEDULES[name]))
    np.testing.assert_array_equal(p, np.zeros(7))
    np.testing.assert_array_equal(q, np.ones(7))


@pytest.mark.parametrize("prediction", predictions.PREDICTIONS)
@pytest.mark.parametrize("name", SCHEDULES)
def test_without_noise_the_state_is_the_sample(name, prediction):
    """At t_zero x = x_0, so p x + q out = x_0 for the output of any noise."""
    schedule = SCHEDULES[name]
    p, q = predictions.to_x0(prediction, schedule, schedule.t_zero)
    out = network_output(prediction, 1.0, 0.0)
    assert p * X0 + q * out == X0


@pytest.mark.parametrize("prediction", ["epsilon", "v", "score", "flow"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_epsilon_is_still_determined_without_noise(name, prediction):
    schedule = SCHEDULES[name]
    p, q = predictions.to_epsilon(prediction, schedule, schedule.t_zero)
    expected = {"epsilon": (0, 1), "v": (0, 1), "score": (0, 0), "flow": (1, 1)}[prediction]
    assert (p, q) == expected


@pytest.mark.parametrize("name", SCHEDULES)
def test_an_x0_prediction_without_noise_gives_no_epsilon(name):
    schedule = SCHEDULES[name]
    message = f"t={schedule.t_zero!r}: sigma = 0, so an x0 prediction determines no epsilon; end"
    with pytest.raises(ValueError, match=message):
        predictions.to_epsilon("x0", schedule, [schedule.t_max, schedule.t_zero])


@pytest.mark.parametrize("target", MAPS)
@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
@pytest.mark.parametrize("prediction", predictions.PREDICTIONS)
def test_factors_are_float64_of_the_shape_of_the_times(prediction, shape, target):
    p, q = MAPS[target](prediction, SCHEDULES["edm"], np.full(shape, 2.0, dtype=np.float32))
    assert p.shape == q.shape == shape
    assert p.dtype == q.dtype == np.float64


@pytest.mark.parametrize("target", MAPS)
@pytest.mark.parametrize("prediction", ["", "eps", "V", "v_prediction"])
def test_an_unknown_prediction_is_refused(prediction, target):
    with pytest.raises(ValueError, match=f"prediction='{prediction}'; choose one of .*flow"):
        MAPS[target](prediction, SCHEDULES["edm"], 1.0)


@pytest.mark.parametrize("target", MAPS)
def test_a_time_outside_the_schedule_is_refused(target):
    with pytest.raises(ValueError, match=r"t=81.0 is outside"):
        MAPS[target]("epsilon", SCHEDULES["edm"], 81.0)
