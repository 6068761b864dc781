"""rk45 from pure noise and to clean data, where gamma and log gamma are infinite: in the share of noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from torch import Tensor

import genie_samplers as gs
from genie_samplers.schedules import Schedule

from ..plans.problems import DISCRETE, VP, ZERO_SNR, prediction_of

Array = NDArray[np.float64]
FLOW = gs.schedules.flow()
PATHS: dict[str, tuple[Schedule, float, float]] = {
    "flow": (FLOW, 1.0, 0.0),
    "zero_snr": (ZERO_SNR, 999.0, 0.0),
    "vp_linear": (VP, 1.0, 0.0),
    "checkpoint": (DISCRETE, 999.0, -1.0),
}
every_path = pytest.mark.parametrize(("schedule", "start", "end"), PATHS.values(), ids=PATHS.keys())
MEAN, SCALE = 0.7, 0.4
NOISE = torch.linspace(-1.9, 2.1, 5, dtype=torch.float64)[None]


def gaussian(schedule: Schedule, prediction: str) -> Callable[[Tensor, Tensor], Tensor]:
    """The exact network of data N(0.7, 0.4^2); t is the schedule's time."""

    def network(x: Tensor, t: Tensor) -> Tensor:
        time = float(t.flatten()[0])
        alpha, sigma = float(schedule.alpha(time)), float(schedule.sigma(time))
        away = (x.numpy() - alpha * MEAN) / ((alpha * SCALE) ** 2 + sigma**2)
        x0, epsilon = MEAN + alpha * SCALE**2 * away, sigma * away
        return torch.from_numpy(prediction_of(prediction, schedule, time, x0, epsilon))

    return network


def carried(schedule: Schedule, x: Array, t: float, t_end: float) -> Array:
    """The probability flow of this data: it keeps (x - alpha m) / deviation."""
    alpha, sigma = schedule.alpha([t, t_end]), schedule.sigma([t, t_end])
    deviation = np.hypot(alpha * SCALE, sigma)
    return alpha[1] * MEAN + deviation[1] / deviation[0] * (x - alpha[0] * MEAN)


def run(schedule: Schedule, prediction: str = "v", **options: Any) -> gs.AdaptiveResult:
    model = gs.models.wrap(gaussian(schedule, prediction), schedule, prediction=prediction, label=np.float64)
    return gs.rk45(model, schedule, **{"rtol": 1e-8, "atol": 1e-8, "state": NOISE, **options})


@every_path
@pytest.mark.parametrize("prediction", ["v", "flow"])
def test_the_way_from_noise_to_data_is_the_flow(schedule: Schedule, start: float, end: float, prediction: str) -> None:
    result = run(schedule, prediction, t_start=start, t_end=end, dtype=torch.float64)
    # labels reach a network in float32: t is off by up to 2^-24 of its largest
    assert np.abs(result.x.numpy() - carried(schedule, NOISE.numpy(), start, end)).max() < 2e-6
    assert result.times.tolist() == [end]


def test_a_flow_schedule_needs_no_ends_and_no_variable() -> None:
    result = run(FLOW)
    assert result.times.tolist() == [0.0]
    assert np.abs(result.x.numpy() - carried(FLOW, NOISE.numpy(), 1.0, 0.0)).max() < 2e-6


def test_on_a_flow_schedule_the_steps_are_scipys_on_the_velocity() -> None:
    times = []

    def velocity(t: float, x: Array) -> Array:
        times.append(t)
        alpha = 1.0 - t
        away = (x - alpha * MEAN) / ((alpha * SCALE) ** 2 + t**2)
        return t * away - (MEAN + alpha * SCALE**2 * away)

    expected = solve_ivp(velocity, (1.0, 0.0), NOISE.numpy()[0], rtol=1e-3, atol=1e-3)
    result = run(FLOW, rtol=1e-3, atol=1e-3, norm="batch")
    assert result.nfe.tolist() == [len(times)]
    assert np.abs(result.x.numpy()[0] - expected.y[:, -1]).max() < 2e-6


def test_samples_of_a_flow_model_have_its_law() -> None:
    result = run(FLOW, state=None, shape=(2, 4000), dtype=torch.float64, rtol=1e-5, atol=1e-5)
    x, error = result.x.numpy(), 1.0 / np.sqrt(8000)
    assert x.mean() == pytest.approx(MEAN, abs=4.0 * SCALE * error)
    assert x.std() == pytest.approx(SCALE, rel=4.0 * error / np.sqrt(2.0))


def test_encoding_to_pure_noise_is_undone() -> None:
    latent = run(FLOW, state=NOISE, t_start=0.01, t_end=1.0)
    back = run(FLOW, state=latent.x, t_start=1.0, t_end=0.01)
    assert (latent.x - NOISE).abs().max() > 0.1
    assert (back.x - NOISE).abs().max() < 2e-6


def test_a_step_to_clean_data_may_follow_on_a_table() -> None:
    result = run(ZERO_SNR, denoise=True)
    assert result.times.tolist() == [ZERO_SNR.t_zero]
    alpha, sigma = float(ZERO_SNR.alpha(0.0)), float(ZERO_SNR.sigma(0.0))
    away = carried(ZERO_SNR, NOISE.numpy(), 999.0, 0.0) - alpha * MEAN
    predicted = MEAN + alpha * SCALE**2 * away / ((alpha * SCALE) ** 2 + sigma**2)
    assert np.abs(result.x.numpy() - predicted).max() < 2e-6


@pytest.mark.parametrize("variable", ["gamma", "log_gamma", "t"])
def test_variables_without_an_ode_at_pure_noise_name_the_one_that_has(variable: str) -> None:
    message = f"t_start=1.0 is pure noise, where {variable} has no finite ODE: use variable='noise_share'"
    with pytest.raises(ValueError, match=message):
        run(FLOW, variable=variable)


def test_a_network_of_noise_is_refused_there() -> None:
    with pytest.raises(ValueError, match="alpha = 0, so a prediction of epsilon says nothing about the data"):
        gs.rk45(lambda x, t: x, FLOW, shape=(2, 3))
