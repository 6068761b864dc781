"""The exact data of the GENIE tests: derivatives along the flow, and one step of every method on one Gaussian."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest
from mpmath import mp, mpf
from numpy.typing import NDArray

from genie_samplers import Plan, solvers

from .exact_schedules import Exact
from .isotropic_mixture import THREE, TOY64, IsotropicMixture
from .oracle import execute
from .problems import EDM

Array = NDArray[np.float64]
POINTS = np.array([[0.3, -0.2], [-1.1, 0.9], [0.05, -1.4]])
GAMMAS = (0.3, 2.0, 30.0)
every_mixture = pytest.mark.parametrize("mixture", [THREE, TOY64], ids=["three", "toy64"])
every_gamma = pytest.mark.parametrize("gamma", GAMMAS)
every_point = pytest.mark.parametrize("point", POINTS, ids=["a", "b", "c"])


@pytest.fixture(autouse=True)
def fifty_digits() -> Iterator[None]:
    with mp.workdps(50):
        yield


# --- any mixture, against the definition of its score at 50 digits


def exact_log_density(mixture: IsotropicMixture, v: list[Exact], gamma: Exact) -> Exact:
    """Up to a constant."""
    total = mpf(0)
    for weight, mean, variance in zip(mixture.weights, mixture.means, mixture.variances, strict=True):
        spread = mpf(variance) + gamma**2
        squared = mp.fsum((x - mpf(m)) ** 2 for x, m in zip(v, mean, strict=True))
        total += mpf(weight) * mp.exp(-squared / (2 * spread)) / spread ** mpf(len(v) / 2)
    return mp.log(total)


def exact_epsilon(mixture: IsotropicMixture, v: list[Exact], gamma: Exact) -> list[Exact]:
    """-gamma times the score, by differences."""

    def slope(axis: int) -> Exact:
        return mp.diff(lambda x: exact_log_density(mixture, [*v[:axis], x, *v[axis + 1 :]], gamma), v[axis])

    return [-gamma * slope(axis) for axis in range(len(v))]


def exact_derivative(mixture: IsotropicMixture, point: Array, gamma: float, known: list[Array], order: int) -> Array:
    """d^order epsilon / d gamma^order by differences along a curve that has the flow's first ``order`` derivatives."""
    factors = [mpf(1) / mp.factorial(k + 1) for k in range(order)]

    def along(h: Exact) -> list[Exact]:
        powers = [factor * h ** (k + 1) for k, factor in enumerate(factors)]
        return [
            mpf(x) + mp.fsum(power * mpf(values[axis]) for power, values in zip(powers, known, strict=False))
            for axis, x in enumerate(point)
        ]

    def component(axis: int) -> Exact:
        return mp.diff(lambda h: exact_epsilon(mixture, along(h), gamma + h)[axis], 0, order)

    return np.array([float(component(axis)) for axis in range(len(point))])


@every_gamma
@every_point
def test_the_noise_is_that_of_the_score(point: Array, gamma: float) -> None:
    exact = [float(c) for c in exact_epsilon(THREE, [mpf(x) for x in point], mpf(gamma))]
    close_to_exact = pytest.approx(exact, rel=0, abs=1e-12 * max(map(abs, exact)))
    assert THREE.epsilon(point, gamma) == close_to_exact
    assert THREE.derivatives(point, gamma, 1)[0] == close_to_exact


@every_gamma
@every_point
@pytest.mark.parametrize("order", [1, 2])
def test_derivatives_along_the_flow_are_its_differences(order: int, point: Array, gamma: float) -> None:
    derivatives = THREE.derivatives(point, gamma, 3)
    exact = exact_derivative(THREE, point, gamma, derivatives[:order], order)
    # epsilon itself is rounded, and d^k epsilon / d gamma^k is of its size over gamma^k where the data are wide
    scale = max(np.abs(exact).max(), np.abs(derivatives[0]).max() / gamma**order)
    assert derivatives[order] == pytest.approx(exact, rel=0, abs=1e-12 * float(scale))


@every_mixture
@every_gamma
def test_the_total_derivative_has_the_closed_form(mixture: IsotropicMixture, gamma: float) -> None:
    """-S - gamma (dS/dgamma at fixed v + J_S epsilon)."""
    epsilon, derivative = mixture.derivatives(POINTS, gamma, 2)
    variance = mixture.variances + gamma**2
    a = (mixture.means - POINTS[:, None, :]) / variance[:, None]
    squared = (a**2).sum(-1)
    log_share = np.log(mixture.weights) - np.log(variance) - 0.5 * variance * squared
    share = np.exp(log_share - log_share.max(-1, keepdims=True))
    share /= share.sum(-1, keepdims=True)

    def mean(values: Array) -> Array:
        return (share[..., None] * values).sum(-2)

    pull, q = mean(a), squared - 2.0 / variance
    turned = q - (share * q).sum(-1, keepdims=True)
    explicit = mean(gamma * (turned - 2.0 / variance)[..., None] * a)
    along = mean(-epsilon[:, None, :] / variance[:, None]) + mean((a * epsilon[:, None, :]).sum(-1, keepdims=True) * a)
    along -= (pull * epsilon).sum(-1, keepdims=True) * pull
    terms = [pull, gamma * explicit, gamma * along]
    assert derivative == pytest.approx(-sum(terms), rel=0, abs=1e-12 * float(np.abs(terms).max()))


@every_gamma
@every_point
def test_the_divergence_is_the_trace_of_the_jacobian(point: Array, gamma: float) -> None:
    v = [mpf(x) for x in point]

    def second(axis: int) -> Exact:
        return mp.diff(lambda x: exact_log_density(THREE, [*v[:axis], x, *v[axis + 1 :]], mpf(gamma)), v[axis], 2)

    exact = -gamma * float(mp.fsum(second(axis) for axis in range(2)))
    assert float(THREE.divergence(point, gamma)) == pytest.approx(exact, rel=1e-12, abs=0)


@every_point
def test_the_log_density_changes_by_minus_the_divergence(point: Array) -> None:
    gamma = mpf("0.7")
    epsilon = exact_epsilon(THREE, [mpf(x) for x in point], gamma)

    def along(h: Exact) -> Exact:
        return exact_log_density(THREE, [mpf(x) + h * e for x, e in zip(point, epsilon, strict=True)], gamma + h)

    assert float(THREE.divergence(point, 0.7)) == pytest.approx(-float(mp.diff(along, 0)), rel=1e-12, abs=0)


# --- one Gaussian, N(mean, 0.3 I)

MEAN, VARIANCE = np.array([0.4, -0.7]), 0.3
GAUSSIAN = IsotropicMixture(np.ones(1), MEAN[None], np.array([VARIANCE]))


@every_gamma
def test_derivatives_of_a_gaussian_have_closed_forms(gamma: float) -> None:
    away, total = POINTS - MEAN, VARIANCE + gamma**2
    expected = [gamma * away / total, VARIANCE * away / total**2, -3.0 * gamma * VARIANCE * away / total**3]
    for_scale = np.abs(away).max() * np.array([gamma / total, 1.0 / total, 1.0 / (gamma * total)])
    errors = np.abs(np.subtract(GAUSSIAN.derivatives(POINTS, gamma, 3), expected)).max(axis=(1, 2))
    assert np.all(errors <= 1e-12 * for_scale)


def test_the_exact_flow_of_a_gaussian_keeps_the_standardised_point() -> None:
    """(v - mean) / sqrt(variance + gamma^2); the classical Runge-Kutta method of 400 steps of 0.0047 in log gamma."""
    start, end = 2.0, 0.3
    reached = GAUSSIAN.flow(POINTS, start, end, 400)
    standardised = (POINTS - MEAN) / np.sqrt(VARIANCE + start**2), (reached - MEAN) / np.sqrt(VARIANCE + end**2)
    assert standardised[1] == pytest.approx(standardised[0], rel=0, abs=(np.log(start / end) / 400) ** 4)


def one_step(build: Callable[..., Plan], gamma: float, gamma_next: float) -> Array:
    """The last state from POINTS on EDM's schedule, where x = v and t = gamma."""
    plan = build(EDM, [gamma, gamma_next])
    powers = [gamma**k for k in range(len(plan.outputs))]

    def network(row: int, v: Array) -> list[Array]:
        derivatives = GAUSSIAN.derivatives(v, plan.times[row], len(powers))
        return [power * values for power, values in zip(powers, derivatives, strict=True)]

    return execute(plan, POINTS, network)[-1]


def ddim_factor(h: float, gamma: float) -> float:
    return 1.0 + h * gamma / (VARIANCE + gamma**2)


def ttm2_factor(h: float, gamma: float) -> float:
    return ddim_factor(h, gamma) + h**2 * VARIANCE / (2.0 * (VARIANCE + gamma**2) ** 2)


def ttm3_factor(h: float, gamma: float) -> float:
    return ttm2_factor(h, gamma) - h**3 * gamma * VARIANCE / (2.0 * (VARIANCE + gamma**2) ** 3)


@pytest.mark.parametrize(
    ("build", "factor"),
    [
        (solvers.ddim, ddim_factor),
        (partial(solvers.genie_ttm2, derivative="exact"), ttm2_factor),
        (solvers.genie_ttm3, ttm3_factor),
    ],
    ids=["ddim", "ttm2", "ttm3"],
)
@pytest.mark.parametrize(("gamma", "gamma_next"), [(2.0, 0.3), (0.5, 0.4), (0.3, 2.0), (40.0, 5.0)])
def test_one_step_from_gaussian_data_multiplies_by_its_factor(
    build: Callable[..., Plan], factor: Callable[[float, float], float], gamma: float, gamma_next: float
) -> None:
    expected = MEAN + factor(gamma_next - gamma, gamma) * (POINTS - MEAN)
    assert one_step(build, gamma, gamma_next) == pytest.approx(expected, rel=0, abs=1e-12 * np.abs(expected).max())
