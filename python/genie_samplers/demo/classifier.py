"""The small Fashion-MNIST classifier whose features give the Frechet distance of the quality benchmarks."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from importlib.resources import as_file, files

from torch import Tensor, nn

from ..files import open_tensors, shapes_of_module
from ..training import own_generator

__all__ = ["Classifier", "fashion_classifier"]

_IMAGE_SIZE = 28


class Classifier(nn.Module):
    """3x3 convolutions with batch normalisation, every second one halving the image, and two linear layers.

    channels: of each convolution. num_features: what the first linear layer makes of the last 7x7 of four convolutions.
    """

    def __init__(self, channels: Sequence[int], num_features: int, classes: int = 10) -> None:
        super().__init__()
        strides = [1 + number % 2 for number in range(len(channels))]
        sizes = zip((1, *channels[:-1]), channels, strides, strict=True)
        blocks = [_block(inputs, outputs, stride) for inputs, outputs, stride in sizes]
        pixels = (_IMAGE_SIZE // math.prod(strides)) ** 2
        self.body = nn.Sequential(*blocks, nn.Flatten(), nn.Linear(channels[-1] * pixels, num_features), nn.ReLU())
        self.head = nn.Linear(num_features, classes)
        self.num_features = num_features

    def features(self, images: Tensor) -> Tensor:
        """float32 [B, 1, 28, 28] in [-1, 1] -> float32 [B, num_features], what the last layer reads."""
        return self.body(images)

    def forward(self, images: Tensor) -> Tensor:
        """float32 [B, 1, 28, 28] in [-1, 1] -> logits float32 [B, classes]."""
        return self.head(self.features(images))


def _block(inputs: int, outputs: int, stride: int) -> nn.Module:
    convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def fashion_classifier() -> Classifier:
    """The classifier shipped with the package, float32 on the CPU, ready to evaluate.

    Needs safetensors: pip install genie-ext[diffusers]. Card: assets/classifier.md.
    """
    assets = files("genie_samplers.demo") / "assets"
    config = json.loads((assets / "classifier.json").read_text())
    with own_generator(0):  # layers are made with random weights first
        network = Classifier(config["channels"], config["num_features"])
    with as_file(assets / "classifier.safetensors") as path, open_tensors(path, "install the package again") as weights:
        weights.check(shapes_of_module(network))
        network.load_state_dict(weights.read())
    return network.eval().requires_grad_(False)
