"""The noise temperature of a plan: on Gaussian data, where the best one is known; and its two distances."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from scipy.linalg import sqrtm

import genie_samplers as gs
from genie_samplers import calibrate, tdas
from genie_samplers.cli import main
from genie_samplers.solvers.registry import recipe_of

from .network_folders import save_unet

VP = gs.schedules.vp_linear()
V = 0.3
SHAPE = (1, 8, 8)
COUNT = 200
PLAN = gs.make_plan("ddpm", VP, 5, grid="uniform_t", denoise=False)


class Exact:
    """The network of white data of variance V; t is its own label."""

    def label(self, times: np.ndarray) -> np.ndarray:
        return np.asarray(times)

    def __call__(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        alpha, sigma = float(VP.alpha(float(t[0]))), float(VP.sigma(float(t[0])))
        return sigma * x / (alpha**2 * V + sigma**2)


def data(count: int = 1000, seed: int = 5) -> torch.Tensor:
    return V**0.5 * torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(seed))


def best_temperature() -> float:
    found = tdas.response(PLAN, [V])
    return float(np.sqrt((tdas.target_variances(PLAN, [V]) - found.state**2) / (found.draws**2).sum(axis=-1))[0])


# of a variance of 200 x 64 numbers the relative deviation is sqrt(2 / 12800), of a deviation half of it; five of them
NEAR = 5 * 0.5 * (2 / (COUNT * 64)) ** 0.5 * best_temperature()


def test_the_best_temperature_is_found_by_the_spectrum() -> None:
    found = calibrate.temperature(Exact(), PLAN, data(), count=COUNT, temperatures=(1.0, 1.1))
    assert found.temperature == pytest.approx(best_temperature(), abs=NEAR)
    assert found.distance == min(found.tried.values()) == found.tried[found.temperature]
    assert found.plan == gs.solvers.tempered(PLAN, found.temperature)
    assert not found.at_border


def test_the_best_temperature_is_found_by_features() -> None:
    """Of the mean square of each image, which is larger the more noise there is."""
    found = calibrate.temperature(
        Exact(), PLAN, data(), count=COUNT, temperatures=(1.0, 1.2, 1.4, 1.6),
        features=lambda x: x.square().flatten(1).mean(dim=1, keepdim=True),
    )  # fmt: skip
    assert found.temperature == pytest.approx(best_temperature(), abs=NEAR)


def test_temperatures_below_one_are_found_where_there_is_too_much_noise() -> None:
    plan = gs.make_plan("euler_maruyama", VP, 8, grid="uniform_t", denoise=False)
    found = calibrate.temperature(Exact(), plan, data(), count=60, temperatures=(1.0, 1.05))
    assert found.temperature < 1.0


def test_every_temperature_is_reported() -> None:
    lines: list[str] = []
    found = calibrate.temperature(Exact(), PLAN, data(), count=20, temperatures=(1.3, 1.4, 1.5), report=lines.append)
    assert len(lines) == len(found.tried) <= 12


def test_no_more_than_twelve_temperatures_are_tried() -> None:
    with pytest.warns(UserWarning, match="temperature: the best of 12, .* is at the border of 1..1.01.*further apart"):
        found = calibrate.temperature(Exact(), PLAN, 3.0 * data(), count=20, temperatures=(1.0, 1.0001))
    assert len(found.tried) == 12
    assert found.at_border
    assert found.temperature == max(found.tried)


def test_a_best_temperature_below_which_is_none_is_said_to_be_at_the_border() -> None:
    with pytest.warns(UserWarning, match=r"the best of 2, 0.2, is at the border of 0.2\.\.1;"):
        found = calibrate.temperature(Exact(), PLAN, 0.1 * data(), count=20, temperatures=(0.2, 1.0))
    assert found.at_border


def test_the_divergence_is_zero_for_equal_spectra_and_that_of_gaussians_for_others() -> None:
    spectrum = 1.0 / (1.0 + np.arange(64.0).reshape(1, 8, 8))
    assert calibrate.spectral_divergence(spectrum, spectrum) == 0.0
    expected = 0.5 * (2.0 - 1.0 - np.log(2.0))
    assert calibrate.spectral_divergence(2.0 * spectrum, spectrum) == pytest.approx(expected, rel=1e-12)


def test_the_frechet_distance_is_that_of_the_matrix_root() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((50, 4)) @ rng.random((4, 4)), rng.standard_normal((60, 4)) @ rng.random((4, 4)) + 0.3
    covariances = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    cross = np.trace(np.real(np.asarray(sqrtm(covariances[0] @ covariances[1]))))
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(covariances[0] + covariances[1]) - 2.0 * cross
    assert calibrate.frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


def test_classes_are_compared_within() -> None:
    """Two classes far apart, as many of each in the data as the network makes."""
    labels = torch.arange(40) % 2
    images = data(40) + 10.0 * labels.reshape(-1, 1, 1, 1)

    def model(x: torch.Tensor, t: torch.Tensor, class_labels: torch.Tensor) -> torch.Tensor:
        return 10.0 * class_labels.reshape(-1, 1, 1, 1) + torch.zeros_like(x)

    plan = gs.make_plan("ddpm", VP, 3, prediction="x0", denoise=False)
    found = calibrate.temperature(
        model, plan, images, labels=labels, count=40, temperatures=(1.0, 1.1), cond={"class_labels": labels}
    )
    made = gs.sample(model, plan, shape=(40, *SHAPE), seed=1, cond={"class_labels": labels})
    spectra = [tdas.power_spectrum(x.double().numpy(), labels=labels) for x in (made, images)]
    assert found.tried[1.0] == pytest.approx(calibrate.spectral_divergence(*spectra), rel=1e-12)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: calibrate.temperature(Exact(), PLAN, data(10)), ValueError, "images: 10, count: 200; give 20 or more"),
        (lambda: calibrate.temperature(Exact(), PLAN, data(), count=5), ValueError, "images: 1000, count: 5; give 20"),
        (
            lambda: calibrate.temperature(Exact(), PLAN, torch.zeros_like(data())),
            ValueError,
            "data: no power at some frequencies, as of constant pictures",
        ),
        (lambda: calibrate.temperature(Exact(), PLAN, data()[0]), TypeError, "images: need a float tensor"),
        (
            lambda: calibrate.temperature(Exact(), gs.make_plan("ddim", VP, 5), data()),
            ValueError,
            "the plan draws no noise; take a stochastic solver",
        ),
        (
            lambda: calibrate.temperature(Exact(), PLAN, data(), temperatures=(1.0,)),
            ValueError,
            r"temperatures=\(1.0,\); give two or more positive",
        ),
        (
            lambda: calibrate.temperature(Exact(), PLAN, data(), labels=torch.zeros(1000)),
            ValueError,
            "labels: of the images alone; give cond.'class_labels'. of the samples, too",
        ),
        (lambda: calibrate.frechet_distance(np.ones((3, 2)), np.ones((1, 2))), ValueError, "features have shapes"),
    ],
)
def test_bad_input_is_refused_with_the_fix(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def command(*arguments: object) -> Any:
    return CliRunner().invoke(main, [str(a) for a in ("calibrate", "temperature", *arguments)])


def test_the_command_line_writes_a_plan_of_the_best_temperature(tmp_path: Path) -> None:
    pytest.importorskip("diffusers")
    network, images, out = save_unet(tmp_path / "network"), tmp_path / "images.npy", tmp_path / "plan.json"
    np.save(images, np.random.default_rng(0).uniform(-1.0, 1.0, (30, 3, 8, 8)).astype(np.float32))
    given = ("--network", network, "--schedule", "vp_linear", "--images", images)
    result = command(*given, "--nfe", 2, "--count", 20, "--grid", "uniform_t", "--out", out)
    assert result.exit_code == 0, result.output
    temperature = recipe_of(gs.Plan.from_json(out.read_text())).options.get("temperature", 1.0)
    assert result.output.splitlines()[-1].endswith(f"temperature {temperature:g}")


def test_the_command_line_refuses_a_solver_without_noise(tmp_path: Path) -> None:
    result = command("--solver", "ddim", "--out", tmp_path / "plan.json")
    assert "--solver ddim: draws no noise; choose a stochastic one, such as ddpm" in result.output
    assert list(tmp_path.iterdir()) == []
