"""What filters do to Gaussian data: laws of Langevin dynamics, of the reverse SDE, of one jump; the fused PDS step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.linalg import solve_discrete_lyapunov

import genie_samplers as gs
from genie_samplers import tdas
from genie_samplers.tdas.transforms import matrix

Array = np.ndarray
RNG = np.random.default_rng(7)
SIZE, N = (3, 4), 12
SPEC = tdas.FilterSpec("dct", 0.6 + 0.8 * RNG.random(SIZE), 0.7 + 0.6 * RNG.random((1, *SIZE)))
R, A = SPEC.frequency, np.asarray(SPEC.space)[0]
EYE = np.eye(N)


def dense(spec: tdas.FilterSpec) -> Array:
    """M with M z = spec.apply(z)."""
    return spec.apply(EYE.reshape(N, 1, *SIZE)).reshape(N, N).T


def symmetric_positive(least: float, most: float) -> Array:
    u, _ = np.linalg.qr(RNG.standard_normal((N, N)))
    return (u * np.linspace(least, most, N)) @ u.T


M = dense(SPEC)
PRECISION = symmetric_positive(0.5, 4.0)
STEP = 0.1


def after_a_step(covariance: Array, precondition: Array, noise: Array) -> Array:
    """Of x <- x - h K P x + sqrt(2 h) B z."""
    kept = EYE - STEP * precondition @ PRECISION
    return kept @ covariance @ kept.T + 2.0 * STEP * noise @ noise.T


# --- covariance of filtered noise (specification 6, items 3 and 4)


def test_filtered_noise_has_the_covariance_of_the_formula() -> None:
    u = np.kron(matrix("dct", SIZE[0]), matrix("dct", SIZE[1]))
    b = u.T @ np.diag(SPEC.frequency.ravel()) @ u @ np.diag(A.ravel())
    assert np.abs(M @ M.T - b @ b.T).max() <= 1e-14
    assert np.trace(M @ M.T) / N == pytest.approx(SPEC.noise_energy, rel=1e-13)


# --- Langevin dynamics, item 7


def test_unfiltered_langevin_has_the_stationary_law_of_the_formula() -> None:
    law = np.linalg.inv(PRECISION - STEP / 2 * PRECISION @ PRECISION)
    assert np.abs(after_a_step(law, EYE, EYE) - law).max() <= 1e-14


def test_preconditioned_langevin_has_the_stationary_law_of_the_formula() -> None:
    law = np.linalg.inv(PRECISION - STEP / 2 * PRECISION @ M @ M.T @ PRECISION)
    assert np.abs(after_a_step(law, M @ M.T, M) - law).max() <= 1e-13


def test_filtered_noise_alone_changes_the_stationary_law() -> None:
    kept = EYE - STEP * PRECISION
    law = solve_discrete_lyapunov(kept, 2.0 * STEP * M @ M.T)
    assert np.abs(after_a_step(law, EYE, M) - law).max() <= 1e-13
    unfiltered = np.linalg.inv(PRECISION - STEP / 2 * PRECISION @ PRECISION)
    assert np.abs(law - unfiltered).max() > 0.1


@pytest.mark.parametrize(
    ("noise", "score", "expected"),
    [
        (1.0, 1.0, lambda v, h: v / (1.0 - h / (2.0 * v))),
        (0.8, 1.0, lambda v, h: 0.64 * v / (1.0 - h / (2.0 * v))),
        (1.25, 1.5625, lambda v, h: v / (1.0 - h * 1.5625 / (2.0 * v))),
    ],
    ids=["vanilla", "tdas", "pds"],
)
@pytest.mark.parametrize("variance", [0.05, 0.3, 2.0])
def test_the_variance_of_a_mode_is_that_of_the_formula_and_stays(
    variance: float, noise: float, score: float, expected: Callable[[float, float], float]
) -> None:
    h = 0.03
    law = float(tdas.langevin_variance(variance, h, noise=noise, score=score))
    assert law == pytest.approx(expected(variance, h), rel=1e-14)
    assert (1.0 - h * score / variance) ** 2 * law + 2.0 * h * noise**2 == pytest.approx(law, rel=1e-14)


# --- item 8


def test_a_skew_term_leaves_the_continuous_law_unchanged() -> None:
    skew = RNG.standard_normal((N, N))
    drift = (M @ M.T + skew - skew.T) @ PRECISION
    law = np.linalg.inv(PRECISION)
    assert np.abs(drift @ law + law @ drift.T - 2.0 * M @ M.T).max() <= 1e-12


# --- the variance-exploding reverse SDE in the limit of small steps, items 9 and 2.5


def reverse_sde(noise: float, score: float, steps: int, variance: float = 0.25) -> float:
    """V / variance after the published predictor on sigma from 50 to 0.01."""
    sigma = np.geomspace(0.01, 50.0, steps)
    a = np.diff(sigma**2, prepend=0.0)
    u = variance + sigma**2
    v = noise**2 * 50.0**2
    for kept, added in zip(((1.0 - score * a / u) ** 2)[::-1], (noise**2 * a)[::-1], strict=True):
        v = kept * v + added
    return v / variance


@pytest.mark.parametrize(
    ("noise", "score", "limit"), [(0.9, 1.0, 0.8100), (1.25, 1.5625, 0.7353), (0.8**0.5, 0.8, 1.3313)]
)
def test_the_reverse_sde_is_biased_as_the_formula_says(noise: float, score: float, limit: float) -> None:
    found = reverse_sde(noise, score, 200_000)
    assert round(found, 4) == limit
    assert found == pytest.approx(float(tdas.reverse_sde_bias(noise, score)), rel=2e-3)


def test_unfiltered_noise_and_score_have_no_bias() -> None:
    assert float(tdas.reverse_sde_bias(1.0)) == 1.0


# --- teleport


@pytest.mark.parametrize(
    "schedule", [gs.schedules.vp_linear(), gs.schedules.edm(), gs.schedules.sub_vp()], ids=["vp", "edm", "sub_vp"]
)
@pytest.mark.parametrize("gamma", [20.0, 1.0, 0.1])
def test_a_jump_is_the_flow_of_gaussian_data(schedule: gs.schedules.Schedule, gamma: float) -> None:
    """The flow by 400 steps of an order-3 solver on the exact network."""
    spectrum = np.array([[4.0, 0.5], [0.1, 0.01]])
    t = float(schedule.time_of_gamma(gamma))
    times = gs.grids.uniform_half_log_snr(schedule, 400, t_end=t)
    solved = tdas.response(gs.solvers.deis_log_ab(schedule, times, order=3), spectrum).state
    factors = tdas.teleport(spectrum, schedule, t).frequency
    assert solved / float(schedule.sigma(times[0])) == pytest.approx(factors, rel=1e-5)


def test_two_jumps_are_one() -> None:
    vp, spectrum = gs.schedules.vp_linear(), 1.0 / (1.0 + np.arange(12.0).reshape(3, 4))
    first, second = tdas.teleport(spectrum, vp, 0.7), tdas.teleport(spectrum, vp, 0.3, start=0.7)
    whole = tdas.teleport(spectrum, vp, 0.3)
    assert first.frequency * second.frequency == pytest.approx(whole.frequency, rel=1e-14)
    assert dict(whole.about) == {"from": "teleport", "start": 1.0, "t": 0.3}


def test_the_jump_to_clean_data_gives_them_their_spectrum() -> None:
    ve, spectrum = gs.schedules.ve(), np.array([[4.0, 0.01]])
    made = tdas.teleport(spectrum, ve, ve.t_zero).frequency ** 2 * (spectrum + float(ve.sigma(ve.t_max)) ** 2)
    assert made == pytest.approx(spectrum, rel=1e-14)


# --- the fused step of PDS, item 14


def forward(x: Array) -> Array:
    return matrix("dct", SIZE[0]) @ x @ matrix("dct", SIZE[1]).T


def backward(x: Array) -> Array:
    return matrix("dct", SIZE[0]).T @ x @ matrix("dct", SIZE[1])


X, SCORE, Z = RNG.standard_normal((3, *SIZE))
B, C = 0.3, 0.8


def six_transforms() -> Array:
    preconditioned = SPEC.apply(SPEC.apply(SCORE[None], adjoint=True))[0]
    return X + B * preconditioned + C * SPEC.apply(Z[None])[0]


def test_four_transforms_make_the_preconditioned_step() -> None:
    u = backward(R * forward(SCORE))
    fused = X + backward(R * forward(B * A**2 * u + C * A * Z))
    assert np.abs(fused - six_transforms()).max() <= 1e-13


def test_two_transforms_make_it_without_a_space_filter() -> None:
    plain = tdas.FilterSpec("dct", R)
    preconditioned = plain.apply(plain.apply(SCORE[None], adjoint=True))[0]
    expected = X + B * preconditioned + C * backward(R * Z)  # Z in place of T[z]
    fused = X + backward(B * R**2 * forward(SCORE) + C * R * Z)
    assert np.abs(fused - expected).max() <= 1e-13


def test_norms_are_known_before_the_inverse_transform() -> None:
    preconditioned = SPEC.apply(SPEC.apply(SCORE[None], adjoint=True))
    u = backward(R * forward(SCORE))
    assert np.linalg.norm(R * forward(A**2 * u)) == pytest.approx(np.linalg.norm(preconditioned), rel=1e-13)
    assert np.linalg.norm(R * forward(A * Z)) == pytest.approx(np.linalg.norm(SPEC.apply(Z[None])), rel=1e-13)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tdas.langevin_variance(0.1, 0.2), "step: step . score reaches twice the least variance"),
        (lambda: tdas.langevin_variance(0.0, 0.2), "variance=0.0; need positive finite numbers"),
        (lambda: tdas.langevin_variance(1.0, 0.2, noise=-1.0), "noise=-1.0; need positive finite numbers"),
        (lambda: tdas.reverse_sde_bias(1.0, 0.5), "score: 1/2 or less, where the start is never forgotten"),
        (
            lambda: tdas.teleport(np.zeros((2, 2)), gs.schedules.vp_linear(), 0.0),
            "spectrum: holds 0, and sigma = 0 at t=0.0; end the jump before it",
        ),
        (lambda: tdas.teleport(-np.ones((2, 2)), gs.schedules.vp_linear(), 0.5), "spectrum: empty, or holds inf, NaN"),
        (lambda: tdas.teleport(np.ones((2, 2)), gs.schedules.vp_linear(), 1.5), "t=1.5 is outside"),
    ],
)
def test_bad_input_is_refused_with_the_fix(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
