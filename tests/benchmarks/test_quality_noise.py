"""The comparison of noises: every line is a plan that runs, and is what its name says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("diffusers", reason="the embedded network is a diffusers UNet2DModel")
pytest.importorskip("torchmetrics")

from benchmarks.quality import noise, treatments
from benchmarks.quality.treatments import Study, Treatment
from genie_samplers import tdas
from genie_samplers.demo.data import LabelledImages

pytestmark = pytest.mark.long

Kinds = Callable[[int, Study], treatments.Made]


@pytest.fixture
def study(tmp_path: Path) -> Study:
    rng = np.random.default_rng(0)
    images = LabelledImages(rng.uniform(-1, 1, (40, 1, 28, 28)).astype(np.float32), np.arange(40) % 10)
    return Study(images, 3, tmp_path, (0.95, 1.05))


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(treatments, "_CALIBRATING", 50)  # the fewest
    monkeypatch.setattr(treatments, "_BATCH", 5)  # to which a batch is filled up


@pytest.mark.parametrize(
    ("of", "names", "nfe"),
    [
        (treatments.of_ddpm, ["white", *["temperature"] * 2, "tdas", *["gains"] * 4], 2),
        (treatments.of_langevin, ["white", *["temperature"] * 2, "tdas", "pds"], 4),
    ],
    ids=["ddpm", "langevin"],
)
def test_every_noise_runs_and_differs_from_the_others(of: Kinds, names: list[str], nfe: int, study: Study) -> None:
    found = [make() for make in of(2, study).values()]
    assert [treatment.noise.split()[0] for treatment in found] == names
    assert [treatment.noise for treatment in found] == list(of(2, study))
    assert {treatment.plan.nfe for treatment in found} == {nfe}
    made = [treatment.samples(1) for treatment in found]
    assert all(np.isfinite(x).all() for x in made)
    assert len({x.tobytes() for x in made}) == len({treatment.key() for treatment in found}) == len(made)
    calibrated = sorted(study.cache.iterdir())
    assert [make().key() for make in of(2, study).values()] == [treatment.key() for treatment in found]
    assert sorted(study.cache.iterdir()) == calibrated


def test_a_filter_calibrated_otherwise_has_samples_of_its_own(study: Study) -> None:
    keys = {treatments.of_ddpm(2, Study(study.images, full, study.cache, ()))["tdas"]().key() for full in (3, 4)}
    assert len(keys) == 2


def test_samples_are_made_once(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    treatment = treatments.of_ddpm(2, study)["white"]()
    first = study.samples(treatment, 2)
    monkeypatch.setattr(Treatment, "samples", lambda *_: pytest.fail("made again"))
    assert np.array_equal(study.samples(treatment, 2), first)


def test_a_line_compares_powers_with_those_of_the_data(study: Study) -> None:
    class Distance:
        def to(self, pixels: object) -> float:
            return 1.5

    treatment = treatments.of_ddpm(2, study)["white"]()
    twice = (2.0 * study.images.images).astype(np.float32)
    line = noise.row(treatment, twice, Distance(), tdas.power_spectrum(study.images.images))  # type: ignore[arg-type]
    assert line == ("ddpm", 2, "white", 40, "1.5", "4", "4")


def test_the_pictures_have_a_row_for_each_noise_and_a_curve_for_each_ratio(study: Study, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    images = study.images.images
    noise.draw(tmp_path, "name", {"white": images, "tdas": 0.9 * images}, images)
    assert {path.name for path in tmp_path.glob("*.png")} == {"noise-name.png", "noise-ratio-name.png"}
