"""Filters and gains in runs of the engine, on Gaussian data: each result is a known linear map of the known noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import genie_samplers as gs
from genie_ext import Noise, normal_fill
from genie_samplers import Plan, tdas
from genie_samplers.plan import filtered
from genie_samplers.tdas.transforms import matrix, transformed

Array = np.ndarray
VP, VE = gs.schedules.vp_linear(), gs.schedules.ve()
SEED, SHAPE = 3, (2, 1, 28, 28)


def image_like() -> Array:
    """(1 + f)^-2 on 28 x 28 frequencies, of mean 0.3."""
    frequency = np.hypot(*np.meshgrid(np.arange(28.0), np.arange(28.0)))
    shape = (1.0 + frequency) ** -2
    return 0.3 * shape / shape.mean()


SPECTRUM = image_like()


class Exact:
    """The network of Gaussian data of this spectrum, in float64; t is its own label, of one of ``times``."""

    dtype = torch.float64

    def __init__(self, times: tuple[float, ...]) -> None:
        self.times = np.array(times)  # a label is a float32

    def label(self, times: Array) -> Array:
        return np.asarray(times)

    def __call__(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        at = self.times[np.abs(self.times - float(t[0])).argmin()]
        alpha, sigma = float(VP.alpha(at)), float(VP.sigma(at))
        u, v = torch.from_numpy(matrix("dct", 28).copy()), torch.from_numpy(SPECTRUM)
        return u.T @ (sigma / (alpha**2 * v + sigma**2) * (u @ x @ u.T)) @ u


def run(plan: Plan, **options: Any) -> Array:
    """The coefficients of the samples."""
    made = gs.sample(Exact(plan.times), plan, shape=SHAPE, seed=SEED, dtype=torch.float64, **options)
    return transformed(made.numpy(), "dct")


def noise(stream: int, draw: int) -> Array:
    """The coefficients of what the engine draws."""
    out = torch.empty(SHAPE, dtype=torch.float64)
    normal_fill(out, noise=Noise(torch.tensor([SEED]), torch.arange(SHAPE[0]), stream), draw=draw)
    return transformed(out.numpy(), "dct")


def expected(plan: Plan, bank: Array) -> Array:
    found = tdas.response(plan, SPECTRUM)
    drawn = (found.draws[..., d] * bank[d] * noise(1, d) for d in range(len(bank)))
    return found.state * noise(0, 0) + sum(drawn)


def plan_of(solver: str, steps: int, **options: Any) -> Plan:
    return gs.make_plan(solver, VP, steps, grid="uniform_t", denoise=False, options=options)


@pytest.mark.parametrize("steps", [10, 20, 50])
@pytest.mark.parametrize("solver", ["ddpm", "euler_maruyama"])
def test_gains_by_draw_are_what_the_closed_form_says(solver: str, steps: int) -> None:
    """So the variances of the study are those of the engine, to the last digits."""
    plan = plan_of(solver, steps)
    gains = tdas.gains_from_spectrum(plan, SPECTRUM)
    made = run(filtered(plan, "filter", start=False, by_draw=True), operators=tdas.operators(gains))
    assert np.abs(made - expected(plan, gains.bank)).max() <= 1e-11


@pytest.mark.parametrize(
    ("changed", "steps", "message"),
    [
        (lambda plan: filtered(plan, "filter", start=False), 10, "hands its operator no number of a draw"),
        (
            lambda plan: filtered(plan, "filter", by_draw=True, start=False),
            9,
            "gains of 10 draws, and the plan filters 9",
        ),
        (
            lambda plan: gs.make_plan("predictor_corrector", VP, 10, options={"filter": "tdas"}),
            10,
            "hands its operator no number of a draw",
        ),
    ],
    ids=["of one index", "of another plan", "of a Langevin solver"],
)
def test_gains_of_another_plan_are_refused_before_it_runs(
    changed: Callable[[Plan], Plan], steps: int, message: str
) -> None:
    gains = tdas.gains_from_spectrum(plan_of("ddpm", 10), SPECTRUM)
    with pytest.raises(ValueError, match=message):
        run(changed(plan_of("ddpm", steps)), operators=tdas.operators(gains))


def test_a_temperature_is_a_gain_that_all_frequencies_share() -> None:
    plan = plan_of("ddpm", 10)
    made = run(gs.solvers.tempered(plan, 1.3))
    assert np.abs(made - expected(plan, np.full((10, 1, 1), 1.3))).max() <= 1e-12


def test_a_filter_multiplies_every_frequency_of_all_noise() -> None:
    plan = plan_of("ddpm", 10)
    spec = tdas.published("lsun_church", iterations=400, transform="dct", size=(28, 28))
    made = run(filtered(plan, "filter"), operators=tdas.operators(spec))
    assert np.abs(made - spec.frequency * run(plan)).max() <= 1e-12


def test_a_filter_of_ones_gives_the_bits_of_the_plan() -> None:
    plan = plan_of("ddpm", 10)
    spec = tdas.FilterSpec("dct", np.ones((28, 28)))
    assert np.array_equal(run(filtered(plan, "filter"), operators=tdas.operators(spec)), run(plan))


def test_a_jump_starts_the_rest_of_a_run() -> None:
    t = float(VP.time_of_gamma(8.0))
    jump = tdas.teleport(SPECTRUM, VP, t)
    start = jump.frequency * noise(0, 0)
    rest = gs.make_plan("unipc2", VP, times=gs.grids.uniform_half_log_snr(VP, 6, t_start=t))
    state = torch.from_numpy(transformed(start, "dct", inverse=True))
    made = transformed(gs.sample(Exact(rest.times), rest, state=state).numpy(), "dct")
    assert np.abs(made - tdas.response(rest, SPECTRUM).state / rest.init.scale * start).max() <= 1e-12


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: gs.solvers.tempered(filtered(plan_of("ddpm", 3), "filter"), 1.1),
            "temperature=1.1: the plan filters its noise; temper the plan first",
        ),
        (
            lambda: gs.solvers.tempered(gs.make_plan("predictor_corrector", VE, 6), 1.1),
            "temperature=1.1: the plan computes its steps with its noise",
        ),
        (
            lambda: tdas.response(filtered(plan_of("ddpm", 3), "filter", draws=False), SPECTRUM),
            "plan: filters its noise; give the plan before that",
        ),
        (
            lambda: tdas.response(gs.make_plan("predictor_corrector", VE, 6), SPECTRUM),
            "plan: computes its steps while it runs, which is not linear",
        ),
    ],
)
def test_plans_that_filter_or_compute_their_noise_are_refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
