"""Derivatives in log gamma of labels and of log alpha."""

from __future__ import annotations

import numpy as np
import pytest

import genie_samplers as gs
from genie_samplers.flow.log_gamma_derivatives import label_derivatives, log_alpha_derivatives

from .oracles import SCHEDULES, VP

COARSE = gs.schedules.from_alphas_cumprod([0.9999, 0.9, 0.5, 0.1, 1e-3])
ALL = {**SCHEDULES, "ve": gs.schedules.ve(), "vp_cosine": gs.schedules.vp_cosine(), "coarse": COARSE}
EPS = np.finfo(np.float64).eps
every_schedule = pytest.mark.parametrize("schedule", ALL.values(), ids=ALL)


def times(schedule: gs.schedules.Schedule) -> np.ndarray:
    """Both ends, as far as log gamma is finite, times between and knots."""
    t_max, t_end = schedule.finite_ends
    inner = np.linspace(t_end, t_max, 7)
    return np.concatenate([inner, np.array(schedule.knots[:3]), 0.5 * (inner[1:] + inner[:-1])])


@every_schedule
def test_log_gamma_is_itself(schedule):
    first, second = label_derivatives(schedule.log_gamma, schedule, times(schedule))
    assert np.abs(first - 1.0).max() <= 16 * EPS
    assert np.abs(second).max() <= 16 * EPS


@every_schedule
def test_a_label_linear_in_t_follows_the_schedule_s_own_derivative(schedule):
    t = times(schedule)
    first, _ = label_derivatives(lambda t: 3.0 * t + 5.0, schedule, t)
    expected = 6.0 * schedule.sigma(t) ** 2 / schedule.diffusion_squared(t)
    # a label near 3 t_max + 5 is rounded; it changes by what its slope says over the window
    bound = 64 * EPS * (3.0 * np.abs(t) + 5.0) / np.minimum(expected, 1.0)
    assert (np.abs(first - expected) <= np.maximum(bound, 1e-13) * np.abs(expected)).all()


def test_at_a_knot_the_slope_is_that_of_the_piece_below():
    below, at, above = (COARSE.time_of_gamma(g * COARSE.gamma(2.0)) for g in (1.0 - 1e-9, 1.0, 1.0 + 1e-9))
    first, _ = label_derivatives(lambda t: t, COARSE, np.array([below, at, above]))
    assert first[1] == pytest.approx(first[0], rel=1e-8)
    assert first[1] != pytest.approx(first[2], rel=1e-2)


def test_the_second_derivative_of_t_on_vp_linear():
    t = np.array([0.01, 0.1, 0.5, 0.9])
    _, second = label_derivatives(lambda t: t, VP, t)
    beta, variance = 0.1 + 19.9 * t, VP.sigma(t) ** 2
    speed = 2.0 * variance / beta  # dt / ds
    expected = speed * (4.0 * variance * (1.0 - variance) / (beta * speed) - 2.0 * variance * 19.9 / beta**2)
    assert np.abs(second / expected - 1.0).max() <= 1e-11


def test_the_slopes_of_log_alpha_are_known_for_four_families():
    t = {name: ALL[name].time_of_gamma([0.05, 0.8, 4.0]) for name in ("vp_linear", "vp_cosine", "flow", "ve", "coarse")}
    found = {name: np.array(log_alpha_derivatives(ALL[name], at)) for name, at in t.items()}
    gamma = np.array([0.05, 0.8, 4.0])
    variance, share = gamma**2 / (1.0 + gamma**2), gamma / (1.0 + gamma)
    preserving = np.array([-variance, -2.0 * variance * (1.0 - variance)])
    expected = {
        **dict.fromkeys(("vp_linear", "vp_cosine", "coarse"), preserving),
        "flow": np.array([-share, -share * (1.0 - share)]),
        "ve": np.zeros((2, 3)),
    }
    assert {name: bool(np.abs(found[name] - expected[name]).max() <= 1e-12) for name in t} == dict.fromkeys(t, True)


@every_schedule
def test_nothing_moves_at_t_zero(schedule):
    t = np.array([schedule.t_zero])
    assert [*np.ravel(label_derivatives(lambda t: t, schedule, t)), *np.ravel(log_alpha_derivatives(schedule, t))] == [
        0.0
    ] * 4
