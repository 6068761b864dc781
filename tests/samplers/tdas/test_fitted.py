"""Gains that are shrunk until a network's own samples have the spectrum of the data."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import genie_samplers as gs
from genie_samplers import tdas
from genie_samplers.plan import filtered
from genie_samplers.tdas.fitted import strengths_that_reach
from genie_samplers.tdas.radial import over_rings

VP = gs.schedules.vp_linear()
COUNT, SIZE = 400, (1, 8, 8)
SPECTRUM = np.full(SIZE, 0.3)
PLAN = gs.make_plan("ddpm", VP, 5, grid="uniform_t", denoise=False)


class White:
    """The network of white data of this variance; t is its own label."""

    def __init__(self, variance: float) -> None:
        self.variance = variance

    def label(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(times)

    def __call__(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        alpha, sigma = float(VP.alpha(float(t[0]))), float(VP.sigma(float(t[0])))
        return sigma * x / (alpha**2 * self.variance + sigma**2)


def fitted(variance: float = 0.5, **options: object) -> tdas.NoiseGains:
    given = {"shape": (COUNT, *SIZE), "strengths": (0.0, 0.5, 1.0), **options}
    return tdas.fitted_gains(White(variance), PLAN, SPECTRUM, **given)  # type: ignore[arg-type]


def power(gains: tdas.NoiseGains, variance: float, seed: int) -> float:
    coloured = filtered(PLAN, "filter", start=False, by_draw=True)
    operators = tdas.operators(gains)
    made = gs.sample(White(variance), coloured, shape=(COUNT, *SIZE), seed=seed, operators=operators, progress=False)
    return float(tdas.power_spectrum(made.double().numpy()).mean())


def test_a_network_that_is_other_than_the_oracle_gets_the_power_of_the_data() -> None:
    """One of data of 0.35 in place of 0.3, which leaves more noise than the oracle of 0.3 believes; of other noise.

    The mean of n squares is uncertain by sqrt(2 / n), here and where it was fitted, where the smallest ring counts.
    """
    whole = tdas.gains_from_spectrum(PLAN, SPECTRUM)
    white = whole.shrunk(0.0)
    found = fitted(0.35)
    n = COUNT * SPECTRUM.size
    near = 5.0 * 0.3 * 2.0 * (2.0 / n) ** 0.5
    assert abs(power(found, 0.35, seed=9) - 0.3) <= near
    assert power(white, 0.35, seed=9) < 0.3 - near
    assert power(whole, 0.35, seed=9) > 0.3 + near


def test_a_network_that_is_the_oracle_gets_the_gains_as_they_are() -> None:
    """Where not even all of them are enough for these samples, the whole is the nearest."""
    found, whole = fitted(0.3), tdas.gains_from_spectrum(PLAN, SPECTRUM)
    n = COUNT * 2  # the smallest rings have few frequencies
    assert found.bank**2 == pytest.approx(whole.bank**2, rel=5.0 * (2.0 / n) ** 0.5)
    assert found.about["strength"]["most"] <= 1.0


@pytest.mark.parametrize(
    ("powers", "expected"),
    [
        ([1.0, 2.0, 3.0], 0.25),
        ([2.0, 1.0, 0.5], 0.25),
        ([1.0, 1.2, 1.4], 1.0),  # never: the nearest
        ([1.6, 1.8, 3.0], 0.0),  # more than enough from the start
        ([1.0, 2.0, 1.0], 0.25),  # twice: the first
        ([1.5, 2.0, 3.0], 0.0),
        ([1.5, 1.5, 1.5], 0.0),
        ([1.0, 1.0, 2.0], 0.75),
    ],
)
def test_the_strength_is_where_the_power_first_meets_the_data(powers: list[float], expected: float) -> None:
    found = strengths_that_reach(np.array([0.0, 0.5, 1.0]), np.array(powers)[:, None], np.array([1.5]))
    assert found.tolist() == [expected]


@pytest.mark.parametrize("transform", ["dct", "dft"])
def test_rings_hold_every_frequency_once(transform: str) -> None:
    rho = tdas.radius((9, 12), transform=transform)
    means, ring = over_rings(rho, transform=transform)
    assert sorted(set(ring.ravel().tolist())) == list(range(len(means)))
    assert np.all(np.diff(means) > 0.0)
    assert means[ring] == pytest.approx(rho, abs=1.0 / 24)
    assert np.bincount(ring.ravel()) @ means == pytest.approx(rho.sum(), rel=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fitted(strengths=(0.0,)), r"strengths=\(0.0,\); give two or more rising numbers in 0..1"),
        (lambda: fitted(strengths=(0.5, 0.1)), "give two or more rising"),
        (lambda: fitted(strengths=(0.0, 1.5)), "give two or more rising"),
        (lambda: fitted(strengths=(0.0, float("nan"))), "give two or more rising"),
        (lambda: fitted(shape=(20, 1, 8, 9)), r"spectrum has shape \(1, 8, 8\); need \(1, 8, 9\)"),
        (
            lambda: tdas.fitted_gains(White(0.3), gs.make_plan("ddim", VP, 5), SPECTRUM, shape=(20, *SIZE)),
            "plan: draws no noise; take a stochastic solver",
        ),
    ],
)
def test_bad_input_is_refused_with_the_fix(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
