"""Coloured noise: least change in closed form, the study on an image-like spectrum, gains from progress, files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize, minimize_scalar

import genie_samplers as gs
from genie_samplers import Plan, tdas
from genie_samplers.plan import filtered

from ...plans.oracle import execute

VP = gs.schedules.vp_linear()
Array = np.ndarray


def image_like() -> Array:
    """(1 + f)^-2 on 28 x 28 frequencies, of mean 0.3."""
    frequency = np.hypot(*np.meshgrid(np.arange(28.0), np.arange(28.0)))
    shape = (1.0 + frequency) ** -2
    return 0.3 * shape / shape.mean()


SPECTRUM = image_like()


def plan_of(solver: str, steps: int, **options: Any) -> Plan:
    return gs.make_plan(solver, VP, steps, grid="uniform_t", denoise=False, options=options)


def error(variances: Array, plan: Plan) -> float:
    """Of the final amplitude spectrum, root mean square over the frequencies."""
    return float(np.sqrt(np.mean((np.sqrt(variances) - np.sqrt(tdas.target_variances(plan, SPECTRUM))) ** 2)))


# --- the study (its numbers are rounded to two or three digits)


@pytest.mark.parametrize(
    ("solver", "steps", "white", "scalar"),
    [
        ("ddpm", 10, 0.166, 0.063),
        ("ddpm", 20, 0.104, 0.042),
        ("ddpm", 50, 0.053, 0.025),
        ("ddpm", 100, 0.031, 0.015),
        ("euler_maruyama", 10, 0.198, None),
        ("euler_maruyama", 20, 0.036, None),
        ("euler_maruyama", 50, 0.010, None),
        ("euler_maruyama", 100, 0.0047, None),
    ],
)
def test_the_study_of_white_noise_and_of_one_temperature(
    solver: str, steps: int, white: float, scalar: float | None
) -> None:
    plan = plan_of(solver, steps)
    found = tdas.response(plan, SPECTRUM)
    noise = (found.draws**2).sum(axis=-1)
    digits = 4 if white < 0.005 else 3
    assert round(error(found.state**2 + noise, plan), digits) == white
    best: Any = minimize_scalar(
        lambda t: error(found.state**2 + t**2 * noise, plan), bounds=(0.5, 2.0), method="bounded"
    )
    assert scalar is None or round(float(best.fun), 3) == scalar


@pytest.mark.parametrize("solver", ["ddpm", "euler_maruyama"])
@pytest.mark.parametrize("steps", [10, 20, 50, 100])
def test_the_gains_reach_the_spectrum(solver: str, steps: int) -> None:
    plan = plan_of(solver, steps)
    gains = tdas.gains_from_spectrum(plan, SPECTRUM)
    assert error(tdas.final_variances(plan, SPECTRUM, gains.bank**2), plan) <= 1e-12


@pytest.mark.parametrize(("steps", "largest"), [(10, 7.2), (20, 3.6), (50, 2.1), (100, 1.6)])
def test_the_gains_of_ancestral_sampling_are_those_of_the_study(steps: int, largest: float) -> None:
    squares = tdas.gains_from_spectrum(plan_of("ddpm", steps), SPECTRUM).bank ** 2
    assert round(float(squares.max()), 1) == largest
    assert squares.min() >= 1.0


@pytest.mark.parametrize(("steps", "kept"), [(10, 0.145), (20, 0.088), (50, 0.046), (100, 0.027)])
def test_holding_the_mean_square_keeps_most_of_the_error(steps: int, kept: float) -> None:
    plan = plan_of("ddpm", steps)
    gains = tdas.gains_from_spectrum(plan, SPECTRUM).normalised()
    assert gains.mean_squares == pytest.approx(np.ones(len(gains.bank)), rel=1e-14)
    assert round(error(tdas.final_variances(plan, SPECTRUM, gains.bank**2), plan), 3) == kept


def test_where_white_noise_is_too_much_gains_fall_to_zero_and_no_further() -> None:
    squares = tdas.gains_from_spectrum(plan_of("euler_maruyama", 10), SPECTRUM).bank ** 2
    assert squares.min() == 0.0


# --- the closed form


def least_change_by_search(weights: Array, needed: float) -> Array:
    found = minimize(
        lambda g: ((g - 1.0) ** 2).sum(), np.full(len(weights), 0.5), jac=lambda g: 2.0 * (g - 1.0), method="SLSQP",
        bounds=[(0.0, None)] * len(weights), options={"ftol": 1e-16, "maxiter": 500},
        constraints={"type": "eq", "fun": lambda g: weights @ g - needed, "jac": lambda _: weights},
    )  # fmt: skip
    return found.x


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9, 1.0, 2.5])
@pytest.mark.parametrize("seed", range(5))
def test_the_least_change_is_that_of_a_numerical_search(seed: int, share: float) -> None:
    weights = np.random.default_rng(seed).random(6) ** 3
    needed = share * weights.sum()
    found = tdas.least_change(weights, np.array(needed))
    assert found @ weights == pytest.approx(needed, rel=1e-13)
    assert found.min() >= 0.0
    assert ((found - 1.0) ** 2).sum() <= ((least_change_by_search(weights, needed) - 1.0) ** 2).sum() + 1e-9


def test_a_draw_that_does_not_reach_the_end_keeps_its_gain() -> None:
    assert tdas.least_change(np.array([0.0, 0.5]), np.array(1.0)).tolist() == [1.0, 2.0]


def test_what_cannot_be_reached_leaves_no_noise() -> None:
    assert tdas.least_change(np.array([0.0, 0.5]), np.array(-0.1)).tolist() == [1.0, 0.0]


# --- what the plan makes of a mode


@pytest.mark.parametrize("solver", ["ddpm", "euler_maruyama", "dpmpp_2m_sde", "gddim"])
@pytest.mark.parametrize("prediction", ["epsilon", "v", "x0"])
def test_the_response_is_that_of_the_plan_run_on_basis_vectors(solver: str, prediction: str) -> None:
    plan = gs.make_plan(solver, VP, 7, grid="quadratic_t", prediction=prediction)
    draws = sum(len(row.draws) for row in plan.rows)
    basis = np.eye(1 + draws)

    def network(row: int, x: Array) -> list[Array]:
        alpha, sigma = float(VP.alpha(plan.times[row])), float(VP.sigma(plan.times[row]))
        share = x / (alpha**2 * 0.4 + sigma**2)
        epsilon, x0 = sigma * share, alpha * 0.4 * share
        return [{"epsilon": epsilon, "x0": x0, "v": alpha * epsilon - sigma * x0}[prediction]]

    expected = execute(plan, plan.init.scale * basis[0], network, basis[1:])[-1]
    found = tdas.response(plan, [[0.1, 0.4]])
    assert np.abs(np.append(found.state[0, 1], found.draws[0, 1]) - expected).max() <= 1e-13


def test_a_uniform_start_counts_with_its_own_variance() -> None:
    ve = gs.schedules.ve()
    uniform, normal = (
        gs.solvers.annealed_langevin(ve, (1.0, 0.9), steps=1, step_size=1e-3, init=init)
        for init in ("uniform", "normal")
    )
    found, of_normal = (tdas.response(plan, [[0.25]]).state.item() for plan in (uniform, normal))
    assert found == pytest.approx(of_normal / normal.init.scale / 12**0.5, rel=1e-14)  # variance 1 / 12


def test_a_spectrum_of_channels_has_gains_of_channels() -> None:
    plan = plan_of("ddpm", 5)
    gains = tdas.gains_from_spectrum(plan, np.stack([SPECTRUM, 2.0 * SPECTRUM]))
    assert gains.bank.shape == (5, 2, 28, 28)
    assert np.array_equal(gains.bank[:, 0], tdas.gains_from_spectrum(plan, SPECTRUM).bank)


def test_shrunk_gains_lie_between_white_noise_and_the_whole() -> None:
    gains = tdas.gains_from_spectrum(plan_of("ddpm", 10), SPECTRUM)
    assert np.array_equal(gains.shrunk(0.0).bank, np.ones_like(gains.bank))
    assert np.abs(gains.shrunk(1.0).bank - gains.bank).max() <= 1e-15
    assert np.abs(gains.shrunk(0.25).bank ** 2 - 1.0 - 0.25 * (gains.bank**2 - 1.0)).max() <= 1e-14


# --- progress


def test_noise_goes_where_work_is_left() -> None:
    progress = np.array([[[0.0, 0.5], [0.5, 1.0]], [[0.9, 0.9], [0.9, 0.9]]])
    gains = tdas.gains_from_progress(progress, power=2.0)
    assert gains.bank[0] ** 2 == pytest.approx(np.array([[1.0, 0.25], [0.25, 0.0]]) / 0.375, rel=1e-14)
    assert gains.bank[1] == pytest.approx(np.ones((2, 2)), rel=1e-14)


def test_progress_is_measured_before_every_draw_and_ends_at_one() -> None:
    """A network that knows the image: all is there from the beginning."""
    image = torch.linspace(-1.0, 1.0, 36).reshape(1, 1, 6, 6)
    plan = gs.make_plan("ddpm", VP, 4, prediction="x0", denoise=True)
    found = tdas.measured_progress(lambda x, t: image.repeat(len(x), 1, 1, 1), plan, shape=(3, 1, 6, 6))
    assert found.shape == (3, 1, 6, 6)
    assert found == pytest.approx(np.ones_like(found), abs=1e-5)


def test_progress_grows_with_the_share_of_the_image_that_is_predicted() -> None:
    image = torch.randn(1, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    plan = gs.make_plan("ddpm", VP, 4, prediction="x0", denoise=True)
    found = tdas.measured_progress(lambda x, t: image * (1.0 - t.reshape(-1, 1, 1, 1) / 2e3), plan, shape=(2, 1, 6, 6))
    assert np.all(np.diff(found.mean(axis=(1, 2, 3))) > 0.0)


def test_a_prediction_that_is_noise_explains_nothing() -> None:
    """As the first of an epsilon network, whose error is multiplied by a large gamma."""
    image = torch.randn(1, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    plan = gs.make_plan("ddpm", VP, 4, prediction="x0", denoise=True)

    def network(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return torch.where(t.reshape(-1, 1, 1, 1) > 900.0, 5.0 * x, image)

    first, *others = tdas.measured_progress(network, plan, shape=(50, 1, 6, 6))
    assert np.all(first == 0.0)
    assert np.stack(others) == pytest.approx(np.ones_like(others), abs=1e-5)
    assert np.isfinite(tdas.gains_from_progress([first]).bank).all()


# --- spectra


def test_the_spectrum_of_data_is_found() -> None:
    rng = np.random.default_rng(3)
    own = tdas.FilterSpec("dct", np.sqrt(SPECTRUM[:8, :8]))
    images = 0.7 + own.apply(rng.standard_normal((4000, 1, 8, 8)))
    found = tdas.power_spectrum(images)[0]
    # of a variance of n samples the relative deviation is sqrt(2 / n); five of them
    assert np.abs(found / SPECTRUM[:8, :8] - 1.0).max() <= 5 * np.sqrt(2 / 4000)


def test_within_classes_the_spectrum_leaves_their_means_out() -> None:
    images = np.repeat([-1.0, 1.0], 6)[:, None, None, None] + np.tile([0.1, -0.1], 6)[:, None, None, None]
    labels = np.repeat([0, 1], 6)
    images = np.broadcast_to(images, (12, 1, 4, 4))
    assert tdas.power_spectrum(images, labels=labels)[0, 0, 0] == pytest.approx(16 * 0.01 * 12 / 10, rel=1e-12)
    assert tdas.power_spectrum(images)[0, 0, 0] > 16.0


# --- files and bad input


def test_gains_are_read_as_they_were_written(tmp_path: Path) -> None:
    gains = tdas.gains_from_spectrum(plan_of("ddpm", 3), SPECTRUM, transform="dft").shrunk(0.1)
    gains.save(tmp_path / "gains.json")
    read = tdas.NoiseGains.load(tmp_path / "gains.json")
    assert (read.transform, read.bank.tobytes()) == ("dft", gains.bank.tobytes())
    assert dict(read.about) == {"from": "spectrum", "strength": 0.1}


def test_a_filter_is_not_read_as_gains(tmp_path: Path) -> None:
    tdas.FilterSpec("dct", np.ones((4, 4))).save(tmp_path / "f.json")
    with pytest.raises(ValueError, match=r"f.json: .*'genie_samplers noise filter', .* not genie_samplers noise g"):
        tdas.NoiseGains.load(tmp_path / "f.json")


GAINS = tdas.NoiseGains("dct", np.ones((3, 4, 4)))
DDIM = gs.make_plan("ddim", VP, 5)
BY_ITSELF = gs.make_plan("predictor_corrector", VP, 4, options={"filter": "tdas"})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tdas.NoiseGains("dct", np.ones((4, 4))), r"bank has shape \(4, 4\); need \[draws, H, W\]"),
        (lambda: tdas.NoiseGains("dct", -np.ones((1, 4, 4))), "bank: holds inf, NaN or a negative number; give gains"),
        (lambda: tdas.NoiseGains("fft", np.ones((1, 4, 4))), "transform='fft'; choose one of dct, dft"),
        (lambda: GAINS.shrunk(np.ones(3)), r"strength has shape \(3,\); give one number, or one for each of"),
        (lambda: GAINS.shrunk(np.nan), "strength=nan; need 0 .white. to 1"),
        (
            lambda: tdas.measured_progress(
                lambda x, t: x, filtered(plan_of("ddpm", 2), "filter"), shape=(2, 1, 28, 28)
            ),
            "plan: applies filter while it runs; give the plan before plan.filtered, of a solver such as ddpm",
        ),
        (
            lambda: tdas.measured_progress(
                lambda x, t: x, gs.make_plan("predictor_corrector", gs.schedules.ve(), 4), shape=(2, 1, 28, 28)
            ),
            "plan: computes langevin_snr while it runs; give the plan before",
        ),
        (lambda: GAINS.shrunk(1.5), "strength=1.5; need 0 .white. to 1"),
        (
            lambda: GAINS.check_fits((1, 1, 4, 5)),
            r"gains are for samples \[..., 4, 4\], the model's",
        ),
        (
            lambda: tdas.final_variances(plan_of("ddpm", 3), np.ones((4, 4)), np.ones((1, 4, 4))),
            r"squared_gains has shape \(1, 4, 4\); need \(3, 4, 4\), of each draw of the plan and mode",
        ),
        (
            lambda: tdas.final_variances(plan_of("ddpm", 3), np.ones((4, 4)), -np.ones((3, 4, 4))),
            "squared_gains: holds inf, NaN or a negative number",
        ),
        (lambda: GAINS.check_fits((1, 1, 4, 4), BY_ITSELF), "gains: the plan hands its operator no number of a draw"),
        (lambda: GAINS.check_fits((1, 1, 4, 4), DDIM), "gains of 3 draws, and the plan has 0; compute them for this"),
        (lambda: tdas.NoiseGains("dct", np.zeros((1, 4, 4))).normalised(), "bank: draw 0 is 0 at every frequency"),
        (lambda: tdas.gains_from_spectrum(DDIM, np.ones((4, 4))), "plan: draws no noise; take a stochastic solver"),
        (lambda: tdas.gains_from_spectrum(plan_of("ddpm", 3), np.ones(4)), r"spectrum has shape \(4,\); need \[H, W\]"),
        (lambda: tdas.gains_from_spectrum(plan_of("ddpm", 3), -np.ones((4, 4))), "spectrum: empty, or holds inf, NaN"),
        (
            lambda: tdas.response(gs.make_plan("ddpm", VP, 3, clip=1.0), [1.0]),
            "plan: clamps its predictions, which is not linear; make it without clip",
        ),
        (
            lambda: tdas.response(gs.make_plan("genie_ttm2", VP, 3), [1.0]),
            "plan: reads .*; take a solver",
        ),
        (lambda: tdas.gains_from_progress(np.full((1, 2, 2), 1.5)), "progress: empty, or leaves 0..1; give the share"),
        (lambda: tdas.gains_from_progress(np.full((1, 2, 2), 1.0)), "bank: draw 0 is 0 at every frequency"),
        (lambda: tdas.gains_from_progress(np.ones((1, 2, 2)), divider=0.5), "power=1.0, divider=0.5; need power >= 0"),
        (lambda: tdas.power_spectrum(np.ones((1, 1, 4, 4))), r"images has shape \(1, 1, 4, 4\); need .* N 2 or more"),
        (lambda: tdas.power_spectrum(np.full((2, 1, 4, 4), np.nan)), "images: hold inf or NaN; leave those out"),
        (lambda: tdas.power_spectrum(np.ones((2, 1, 4, 4)), labels=[0]), r"labels has shape \(1,\); need one class"),
        (
            lambda: tdas.power_spectrum(np.ones((2, 1, 4, 4)), labels=[0, 1]),
            "labels: every image is a class of",
        ),
        (
            lambda: tdas.measured_progress(lambda x, t: x, DDIM, shape=(1, 1, 4, 4)),
            "plan: draws no noise; take a stochastic solver",
        ),
    ],
)
def test_bad_input_is_refused_with_the_fix(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
