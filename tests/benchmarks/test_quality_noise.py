"""The comparison of noises: every line is a plan that runs, and is what its name says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("diffusers", reason="the embedded network is a diffusers UNet2DModel")
pytest.importorskip("torchmetrics")

from benchmarks.quality import noise
from genie_samplers import tdas
from genie_samplers.demo.data import LabelledImages

pytestmark = pytest.mark.long


@pytest.fixture
def images() -> LabelledImages:
    rng = np.random.default_rng(0)
    return LabelledImages(rng.uniform(-1, 1, (40, 1, 28, 28)).astype(np.float32), np.arange(40) % 10)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "_CALIBRATING", 50)  # the fewest
    monkeypatch.setattr(noise, "_BATCH", 5)  # to which a batch is filled up


def test_every_noise_of_ancestral_sampling_runs(images: LabelledImages, tmp_path: Path) -> None:
    found = list(noise.of_ddpm(2, 3, images, tmp_path))
    assert [treatment.noise.split()[0] for treatment in found] == [
        "white",
        *["temperature"] * 3,
        "tdas",
        *["gains"] * 3,
    ]
    assert {treatment.plan.nfe for treatment in found} == {2}
    made = [treatment.samples(1) for treatment in found]
    assert all(np.isfinite(x).all() for x in made)
    assert len({x.tobytes() for x in made}) == len(made)
    calibrated = sorted(tmp_path.iterdir())
    again = list(noise.of_ddpm(2, 3, images, tmp_path))
    assert [a.plan for a in again] == [f.plan for f in found]
    assert sorted(tmp_path.iterdir()) == calibrated


def test_every_noise_of_langevin_sampling_runs(tmp_path: Path) -> None:
    found = list(noise.of_langevin(2, 3, tmp_path))
    assert [treatment.noise.split()[0] for treatment in found] == ["white", "temperature", "temperature", "tdas", "pds"]
    assert {treatment.plan.nfe for treatment in found} == {4}
    made = [treatment.samples(1) for treatment in found]
    assert len({x.tobytes() for x in made}) == len(made)


def test_a_line_compares_powers_with_those_of_the_data(images: LabelledImages, tmp_path: Path) -> None:
    class Distance:
        def to(self, pixels: object) -> float:
            return 1.5

    treatment = next(noise.of_ddpm(2, 3, images, tmp_path))
    twice = (2.0 * images.images).astype(np.float32)
    line = noise.row(treatment, twice, Distance(), tdas.power_spectrum(images.images))  # type: ignore[arg-type]
    assert line == ("ddpm", 2, "white", 40, "1.5", "4", "4")
