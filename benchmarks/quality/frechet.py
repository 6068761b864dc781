"""The Frechet distance between Gaussians fitted to the classifier's features. Never an FID: that is Inception's.

The reference is what the network was trained on: the 60,000 training images and their mirror images. The floor is what
real images reach: the 10,000 test images, every second one mirrored.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from genie_samplers.cli.images import to_pixels
from genie_samplers.demo.classifier import Classifier
from genie_samplers.demo.data import LabelledImages

from .sample import SampleSet

__all__ = ["Distance", "FrechetDistance", "PixelFeatures", "distances", "floor", "mirrored", "write_distances"]

Pixels = NDArray[np.uint8]
_BATCH = 500


class PixelFeatures(nn.Module):
    """uint8 [B, 28, 28, 1] -> the classifier's features, float64 [B, num_features]."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier
        self.num_features = classifier.num_features

    def forward(self, pixels: Tensor) -> Tensor:
        images = pixels.permute(0, 3, 1, 2).float() / 127.5 - 1.0
        return self.classifier.features(images).double()


class FrechetDistance:
    """|m - m'|^2 + tr(S + S' - 2 (S S')^(1/2)) between the features of a reference and those of other images.

    features: a module with ``num_features`` from a batch [B, ...] to float64 [B, num_features]. reference: [N, ...], at
    least 2 images. Heusel et al., arXiv 1706.08500, with other features.
    """

    def __init__(self, features: nn.Module, reference: NDArray[np.generic]) -> None:
        from torchmetrics.image.fid import FrechetInceptionDistance  # which the rest here does without

        self._metric = FrechetInceptionDistance(feature=features, reset_real_features=False)
        self._update(reference, real=True)

    def to(self, images: NDArray[np.generic]) -> float:
        """The distance of [M, ...] images, at least 2."""
        self._metric.reset()
        self._update(images, real=False)
        return float(self._metric.compute())

    @torch.no_grad()
    def _update(self, images: NDArray[np.generic], *, real: bool) -> None:
        for batch in torch.from_numpy(images).split(_BATCH):
            self._metric.update(batch, real=real)


@dataclass(frozen=True)
class Distance:
    """One line of frechet.csv; grid and nfe are empty for real images."""

    samples: str
    grid: str
    nfe: int | str
    count: int
    distance: float


def mirrored(images: LabelledImages) -> Pixels:
    """The images and their mirror images, uint8 [2 N, 28, 28, 1]."""
    pixels = to_pixels(images.images)
    return np.concatenate([pixels, pixels[:, :, ::-1]])


def _half_mirrored(pixels: Pixels) -> Pixels:
    """Every second image replaced by its mirror image."""
    mixed = pixels.copy()
    mixed[1::2] = mixed[1::2, :, ::-1]
    return mixed


def floor(
    features: nn.Module, reference: FrechetDistance, train: LabelledImages, test: LabelledImages
) -> list[Distance]:
    """What real images reach: the test images, and 10,000 training images against all others.

    The second knows no difference between the two splits, so it is what the sample size alone gives.
    """
    count = len(test)
    held_out = _half_mirrored(to_pixels(train.images[:count]))
    others = FrechetDistance(features, mirrored(LabelledImages(train.images[count:], train.labels[count:])))
    real = reference.to(_half_mirrored(to_pixels(test.images)))
    return [
        Distance("test images", "", "", count, real),
        Distance("training images, against the others", "", "", count, others.to(held_out)),
    ]


def distances(reference: FrechetDistance, sets: Sequence[SampleSet], count: int) -> Iterator[Distance]:
    """One per set that is complete on disk; the others are left out."""
    for samples in sets:
        if not samples.missing(count):
            distance = reference.to(samples.pixels(count))
            yield Distance(samples.solver, samples.grid, samples.plan.nfe, count, distance)


def write_distances(path: Path, found: Sequence[Distance]) -> None:
    with open(path, "w", newline="") as file:
        rows = [(*astuple(d)[:-1], f"{d.distance:.4f}") for d in found]
        csv.writer(file).writerows([[entry.name for entry in fields(Distance)], *rows])
