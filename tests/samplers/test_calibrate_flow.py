"""Calibration where a schedule starts in pure noise: data N(0, 0.5^2), whose flow is a factor."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

import genie_samplers as gs
from genie_samplers.calibrate import Reference, search
from genie_samplers.schedules import Schedule
from genie_samplers.uses.reconstruct import GaussianData

from ..plans.problems import ZERO_SNR

SCALE = 0.5
SCHEDULES: dict[str, Schedule] = {"flow": gs.schedules.flow(), "shift3": gs.schedules.flow(shift=3.0), "zero": ZERO_SNR}
every_schedule = pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES.keys())


@cache
def recorded(schedule: Schedule) -> Reference:
    return Reference.record(GaussianData(schedule, SCALE, prediction="v"), schedule, shape=(6, 3), nodes=12)


def deviation(schedule: Schedule, times: np.ndarray) -> np.ndarray:
    return np.hypot(SCALE * schedule.alpha(times), schedule.sigma(times))


@every_schedule
def test_the_reference_is_the_flow_from_pure_noise(schedule: Schedule) -> None:
    reference = recorded(schedule)
    assert (reference.times[0], reference.times[-1]) == (schedule.t_max, schedule.t_zero)
    assert len(reference.states) == len(reference.times) == len(reference.epsilon) + 1 == len(reference.flow) + 1
    exact = deviation(schedule, reference.times)[:, None, None] * reference.states[0].double().numpy()
    assert np.abs(reference.states.double().numpy() - exact).max() < 1e-3


@every_schedule
def test_recorded_predictions_are_the_networks(schedule: Schedule) -> None:
    """In float32, a label too: t is off by 2^-24 of t_max, epsilon by 1 / sigma and x0, made of it, by gamma."""
    reference = recorded(schedule)
    times, x = reference.times[:-1], reference.states[:-1].double().numpy()
    alpha, sigma, variance = schedule.alpha(times), schedule.sigma(times), deviation(schedule, times) ** 2
    rounding = 64.0 * 2.0**-24 * np.abs(x).max()
    gamma = np.divide(sigma, alpha, out=np.zeros_like(sigma), where=alpha > 0.0)  # from pure noise x0 is direct
    error = np.abs(reference.epsilon.numpy() - (sigma / variance)[:, None, None] * x).max(axis=(1, 2))
    assert np.all(error <= rounding / sigma)
    error = np.abs(reference.flow.numpy() - ((sigma - alpha * SCALE**2) / variance)[:, None, None] * x).max(axis=(1, 2))
    assert np.all(error <= rounding * (1.0 / sigma + gamma))


@pytest.mark.parametrize("schedule", [SCHEDULES["shift3"], ZERO_SNR], ids=["shift3", "zero"])
@pytest.mark.parametrize("solver", ["deis_tab2", "unipc2", "flow_ab2"])
@pytest.mark.each_value
def test_a_search_comes_no_further_from_the_flow_than_the_named_grids(schedule: Schedule, solver: str) -> None:
    found = search(recorded(schedule), solver, 5, runs=6)
    assert found.rmse <= min(found.start_rmse.values()) < 0.2
    assert set(found.starts) == {*gs.grids.GRIDS, "shortest_path"}
    assert found.plan.times[0] == schedule.t_max
