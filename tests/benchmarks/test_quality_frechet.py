"""The classifier and the Frechet distance of its features."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("torchmetrics")
pytest.importorskip("diffusers", reason="the weights are a safetensors file")

import genie_samplers as gs
from benchmarks.quality.frechet import FrechetDistance, PixelFeatures, mirrored
from benchmarks.quality.train_classifier import Options, Trainer, accuracy
from genie_samplers.demo.classifier import fashion_classifier
from genie_samplers.demo.data import DEFAULT_ROOT, LabelledImages, fashion_mnist

ASSETS = Path(gs.__file__).parent / "demo" / "assets"
needs_data = pytest.mark.skipif(not DEFAULT_ROOT.exists(), reason="Fashion-MNIST is not installed")


class Given(nn.Module):
    """Features that are the images themselves."""

    num_features = 3

    def forward(self, images: Tensor) -> Tensor:
        return images.double()


@pytest.fixture
def vectors() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((700, 3)) @ np.diag([1.0, 0.5, 2.0]) + [1.0, -2.0, 0.0]


def first_images(count: int) -> LabelledImages:
    test = fashion_mnist("test")
    return LabelledImages(test.images[:count], test.labels[:count])


def noise_images(count: int) -> LabelledImages:
    rng = np.random.default_rng(0)
    images = rng.uniform(-1.0, 1.0, (count, 1, 28, 28)).astype(np.float32)
    return LabelledImages(images, rng.integers(0, 10, count))


# --- the distance


def test_a_set_is_at_distance_zero_of_itself(vectors: np.ndarray) -> None:
    # a root of eigenvalues near 1/16 and 16: their roundings, 16 eps, grow by 1 / (2 sqrt(1/16))
    assert abs(FrechetDistance(Given(), vectors).to(vectors)) < 1e-12


@pytest.mark.parametrize("scale", [1.0, 0.5, 3.0])
@pytest.mark.parametrize("shift", [0.0, 0.7])
def test_a_shifted_and_scaled_set_is_at_the_distance_of_the_closed_form(
    vectors: np.ndarray, scale: float, shift: float
) -> None:
    moved = scale * vectors + [shift, 0.0, -shift]
    means = moved.mean(0) - vectors.mean(0)
    expected = means @ means + (1.0 - scale) ** 2 * np.trace(np.cov(vectors.T))
    assert FrechetDistance(Given(), vectors).to(moved) == pytest.approx(expected, abs=1e-11)


def test_every_set_is_measured_afresh(vectors: np.ndarray) -> None:
    distance = FrechetDistance(Given(), vectors)
    first = distance.to(vectors + 1.0)
    distance.to(vectors * 5.0)
    assert distance.to(vectors + 1.0) == first


def test_mirror_images_follow_the_images() -> None:
    images = noise_images(3)
    pixels = mirrored(images)
    assert pixels.shape == (6, 28, 28, 1)
    assert np.array_equal(pixels[3:], mirrored(LabelledImages(images.images[..., ::-1], images.labels))[:3])


# --- the classifier


@needs_data
def test_the_classifier_knows_nine_garments_of_ten() -> None:
    assert accuracy(fashion_classifier(), first_images(1000)) >= 0.9


@needs_data
def test_features_of_pixels_are_what_the_last_layer_reads() -> None:
    classifier, images = fashion_classifier(), first_images(50)
    features = PixelFeatures(classifier)(torch.from_numpy(mirrored(images)[:50]))
    assert features.dtype == torch.float64
    logits = classifier(torch.from_numpy(images.images))
    assert torch.allclose(classifier.head(features.float()), logits, atol=1e-4)


def test_the_card_quotes_the_measured_accuracy_and_size() -> None:
    config = json.loads((ASSETS / "classifier.json").read_text())
    size = (ASSETS / "classifier.safetensors").stat().st_size
    card = (ASSETS / "classifier.md").read_text()
    assert config["test_accuracy"] >= 0.915 and size <= 2**20
    assert f"{100 * config['test_accuracy']:.2f} %" in card and f"{size / 1e6:.2f} MB" in card


def test_a_stopped_training_goes_on_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    options = Options(channels=(4, 4, 4, 4), num_features=5, epochs=2, batch_size=20, warmup_steps=2)
    data = noise_images(60)
    whole = Trainer(tmp_path / "whole", data, options)
    whole.run()
    Trainer(tmp_path / "parts", data, options).run(until=4)
    resumed = Trainer(tmp_path / "parts", data, options)
    assert resumed.step == 4
    resumed.run()
    states = zip(whole.network.state_dict().values(), resumed.network.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in states)


def test_a_checkpoint_of_other_options_is_refused(tmp_path: Path) -> None:
    options = Options(channels=(4, 4, 4, 4), num_features=5, epochs=1, batch_size=20)
    Trainer(tmp_path, noise_images(20), options).run()
    with pytest.raises(ValueError, match="num_features"):
        Trainer(tmp_path, noise_images(20), Options(channels=(4, 4, 4, 4), num_features=6, epochs=1, batch_size=20))
