"""Filters from samples: the statistics, the zones of samples whose deviation is known, the amplifying case."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import genie_samplers as gs
from genie_samplers import tdas
from genie_samplers.cli import main
from genie_samplers.tdas.transforms import transformed

Array = np.ndarray
RNG = np.random.default_rng(11)
COUNT = tdas.LEAST_SAMPLES
EXACT: dict[str, Any] = {"low": 0.0, "high": 1.0}  # samples as they are


def with_powers(powers: Array, transform: str) -> Array:
    """Samples [50, 1, H, W] whose squared coefficients all are exactly these, [H, W], of an orthonormal transform.

    Of "dft" these must be even; Re - Im of the FFT is its own inverse, and |FFT|^2 the mean of its squares at k and -k.
    """
    coefficients = np.sqrt(powers) * RNG.choice([-1.0, 1.0], size=(COUNT, 1, *powers.shape))
    if transform == "dct":
        return transformed(coefficients, transform, inverse=True)
    spectrum = np.fft.fft2(coefficients, norm="ortho")
    return spectrum.real - spectrum.imag


def pair(k_of_rho: Callable[[Array], Array], n: int, transform: str) -> tuple[Array, Array]:
    """Samples of log power 0.5 everywhere, and of 0.5 K."""
    rho = tdas.radius((n, n), transform=transform)
    scale = 1.0 if transform == "dct" else float(n * n)  # of the DFT that is not normalised
    powers = [np.expm1(0.5 * k) / scale for k in (np.ones_like(rho), k_of_rho(rho))]
    return with_powers(powers[0], transform), with_powers(powers[1], transform)


@pytest.mark.parametrize("transform", ["dct", "dft"])
def test_the_ratio_is_that_of_the_log_powers(transform: str) -> None:
    found = tdas.calibrate(*pair(lambda rho: 1.0 + 0.3 * rho, 12, transform), transform=transform, **EXACT)
    expected = 1.0 + 0.3 * tdas.radius((12, 12), transform=transform)
    assert np.abs(found.ratio[0] - expected).max() <= 1e-12


def test_the_powers_of_the_dft_are_not_normalised() -> None:
    images = RNG.random((3, 2, 6, 5))
    expected = np.log(1.0 + np.mean(np.abs(np.fft.fft2(images)) ** 2, axis=0))
    assert tdas.log_power(images, transform="dft") == pytest.approx(expected, rel=1e-13)


# --- zones: radii of a deviation that grows with frequency are constants of the geometry (specification 1.5)


@pytest.mark.parametrize(
    ("transform", "n", "q2", "r1", "r2"),
    [
        ("dft", 256, 0.95, 0.4011, 0.4486),
        ("dft", 256, 0.96, 0.4011, 0.4538),
        ("dft", 256, 0.97, 0.4011, 0.4599),
        ("dct", 256, 0.95, 0.800, 0.895),
        ("dct", 256, 0.96, 0.800, 0.906),
        ("dct", 256, 0.97, 0.800, 0.918),
    ],
)
def test_radii_of_a_growing_deviation_are_those_of_the_tables(
    transform: str, n: int, q2: float, r1: float, r2: float
) -> None:
    about = tdas.calibrate(*pair(lambda rho: 1.0 + rho, n, transform), transform=transform, q2=q2, **EXACT).spec.about
    digit = 1e-4 if transform == "dft" else 1e-3  # the last that is given, and for r2 of a large image
    assert [about["r1"], about["r2"]] == pytest.approx([r1, r2], abs=digit)


def test_lambdas_undo_the_deviation_at_their_quantiles() -> None:
    found = tdas.calibrate(*pair(lambda rho: 1.0 + rho, 16, "dft"), q1=0.7, q2=0.9, **EXACT)
    about = found.spec.about
    assert [about["lambda1"], about["lambda2"]] == pytest.approx(1.0 / np.quantile(found.ratio, [0.7, 0.9]), rel=1e-14)
    assert not found.amplifies
    assert set(np.unique(found.spec.frequency)) == {1.0, about["lambda1"], about["lambda2"]}


def test_samples_that_lack_high_frequencies_are_given_more_noise() -> None:
    found = tdas.calibrate(*pair(lambda rho: 1.0 - rho, 16, "dft"), q1=0.7, q2=0.9, **EXACT)
    about = found.spec.about
    assert found.amplifies
    assert [about["lambda1"], about["lambda2"]] == pytest.approx(1.0 / np.quantile(found.ratio, [0.3, 0.1]), rel=1e-14)
    assert 1.0 < about["lambda1"] < about["lambda2"]
    assert 0.3 < about["r1"] < about["r2"]


def test_the_direction_can_be_forced() -> None:
    samples = pair(lambda rho: np.where(rho > 0.45, 1.3, np.where(rho > 0.4, 0.9, 1.0)), 16, "dft")
    assert tdas.calibrate(*samples, amplify=False, **EXACT).spec.about["lambda2"] < 1.0
    assert tdas.calibrate(*samples, amplify=True, q1=0.99, q2=0.99, **EXACT).spec.about["lambda2"] > 1.0


def test_the_behaviour_function_is_the_mean_over_each_radius() -> None:
    found = tdas.calibrate(*pair(lambda rho: 1.0 + rho**2, 12, "dft"), **EXACT).behaviour
    assert found.k == pytest.approx(1.0 + found.rho**2, rel=1e-11)
    assert (found.rho[0], found.rho[-1]) == (0.0, 0.5)


def test_data_give_a_space_filter() -> None:
    images = RNG.uniform(-1.0, 1.0, (5, 1, 12, 12))
    found = tdas.calibrate(*pair(lambda rho: 1.0 + rho, 12, "dft"), images=images, alpha=3.0)
    assert found.spec.space == pytest.approx(tdas.space_filter((images + 1.0) / 2.0, alpha=3.0), rel=1e-14)


def white(seed: int, shape: tuple[int, ...] = (COUNT, 1, 8, 8)) -> Array:
    return np.random.default_rng(seed).uniform(-1.0, 1.0, shape)


def test_a_model_is_calibrated_on_samples_of_its_own() -> None:
    schedule = gs.schedules.vp_linear()
    full, fast = (gs.make_plan("ddpm", schedule, nfe, prediction="x0") for nfe in (30, 2))

    def model(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return 0.9 * torch.tanh(x)

    found = tdas.calibrate_model(model, full, fast, shape=(COUNT, 1, 8, 8), seed=4)
    made = [gs.sample(model, plan, shape=(COUNT, 1, 8, 8), seed=4) for plan in (full, fast)]
    assert np.array_equal(found.ratio, tdas.calibrate(*made).ratio)


@pytest.mark.parametrize("images", [None, white(3, (5, 1, 12, 12))])
def test_a_calibration_is_drawn(images: Array | None, tmp_path: Path) -> None:
    found = tdas.calibrate(*pair(lambda rho: 1.0 + rho, 12, "dft"), images=images)
    tdas.write_picture(found, tmp_path / "tdas.png")
    assert (tmp_path / "tdas.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tdas.calibrate(white(0)[:-1], white(1)), "vanilla: 49 samples; give 50 or more, 200 as published"),
        (lambda: tdas.calibrate(white(0), white(1)[:10]), "accelerated: 10 samples; give 50 or more"),
        (lambda: tdas.calibrate(white(0)[:, 0], white(1)), r"vanilla has shape \(50, 8, 8\); need samples"),
        (
            lambda: tdas.calibrate(white(0), white(1, (COUNT, 1, 8, 6))),
            r"vanilla: samples \[1, 8, 8\], accelerated \[1, 8, 6\]; make both with one model",
        ),
        (lambda: tdas.calibrate(white(0), white(1) * np.nan), "accelerated: holds inf or NaN; leave those samples out"),
        (lambda: tdas.calibrate(white(0), white(1), q1=0.9, q2=0.8), "q1=0.9, q2=0.8; need 0.5 <= q1 <= q2 < 1"),
        (lambda: tdas.calibrate(white(0), white(1), low=1.0), "low=1.0, high=1.0; need the range of the data"),
        (lambda: tdas.calibrate(-np.ones((50, 1, 8, 8)), white(1)), "vanilla: a frequency has no power in any sample"),
        (lambda: tdas.calibrate(white(0), -np.ones((50, 1, 8, 8))), "accelerated: a frequency has no power in any"),
        (
            lambda: tdas.calibrate(white(0), white(1), images=np.zeros((5, 3, 8, 8))),
            r"images has shape \(5, 3, 8, 8\); need \['N', 1, 8, 8\], as the samples",
        ),
        (
            lambda: tdas.calibrate(*pair(lambda rho: 1.0 + (rho < 0.1) + 0.1 * (rho > 0.3), 16, "dft"), amplify=False),
            "their ratio is not ordered by the radius .*; give more samples",
        ),
        (
            lambda: tdas.calibrate_model(
                lambda x, t: x, *[gs.make_plan("ddpm", gs.schedules.vp_linear(), 2)] * 2, shape=(20, 1, 8, 8)
            ),
            r"shape=\(20, 1, 8, 8\); need \(B, C, H, W\) with B of 50 or more",
        ),
    ],
)
def test_bad_input_is_refused_with_the_fix(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_the_command_line_writes_filter_numbers_and_picture(tmp_path: Path) -> None:
    rho = tdas.radius((28, 28), transform="dft")
    full, fast = (np.clip(0.2 * with_powers(1.0 + gain * rho, "dft"), -1.0, 1.0) for gain in (0.0, 1.0))
    np.save(tmp_path / "full.npy", full.astype(np.float32))
    np.save(tmp_path / "fast.npy", fast.astype(np.float32))
    arguments = ["calibrate", "tdas", "--full-samples", tmp_path / "full.npy", "--samples", tmp_path / "fast.npy"]
    result = CliRunner().invoke(main, [str(a) for a in [*arguments, "--out", tmp_path / "tdas.json"]])
    assert result.exit_code == 0, result.output
    assert "attenuates high frequencies, lambda1 0." in result.output
    assert sorted(path.name for path in tmp_path.glob("tdas.*")) == ["tdas.json", "tdas.png", "tdas.safetensors"]
    assert tdas.FilterSpec.load(tmp_path / "tdas.json").size == (28, 28)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--count", "20"], "--count 20: give 50 samples of either kind or more, 200 as published"),
        (["--q1", "0.96", "--q2", "0.8"], "--q1 0.96 --q2 0.8: need q1 <= q2 < 1"),
        (["--q2", "1"], "--q1 0.8 --q2 1: need q1 <= q2 < 1"),
    ],
)
def test_the_command_line_refuses_before_it_samples(options: list[str], message: str, tmp_path: Path) -> None:
    arguments = ["calibrate", "tdas", "--full-nfe", "1", "--nfe", "1", "--count", "50", *options]
    result = CliRunner().invoke(main, [*arguments, "--out", str(tmp_path / "tdas.json")])
    assert result.exit_code != 0
    assert message in str(result.output or result.exception)
    assert "samples of ddpm" not in result.output
