"""GENIE's head: a small network on the features of the U-Net that predicts the derivative of epsilon."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from .features import EMBEDDING_LAYER, LAST_LAYER, Features, captured, check_sizes, groups, sizes, width_of

__all__ = ["GenieHead", "HeadConfig"]

_NORM_EPS = 1e-6


@dataclass(frozen=True)
class HeadConfig:
    """channels: of a sample. features: channels of the last feature map. embedding: size of the time embedding.

    width: channels inside the head. normalize: whether a GroupNorm comes before the features. scaled:
    whether the maps are multiplied by 1/sqrt(1 + gamma^2). last_layer, embedding_layer: the layers of the network that
    the head is attached to.
    """

    channels: int
    features: int
    embedding: int
    width: int
    normalize: bool = False
    scaled: bool = True
    last_layer: str = LAST_LAYER
    embedding_layer: str = EMBEDDING_LAYER

    predicts: ClassVar[str] = "derivative"
    derivative: ClassVar[str] = "head"  # the option of the plans that read it
    outputs: ClassVar[tuple[str, ...]] = ("k1", "k2", "k3")

    @staticmethod
    def of(
        network: nn.Module, *, width: int | None = None, normalize: bool = False, scaled: bool = True,
        last_layer: str = LAST_LAYER, embedding_layer: str = EMBEDDING_LAYER,
    ) -> HeadConfig:  # fmt: skip
        """For a diffusers U-Net, read from its layers; ``width`` is that of its last feature map by default.

        ValueError where a layer is missing, a size cannot be read, or the network returns other channels than it takes.
        """
        known = sizes(network, last_layer, embedding_layer)
        return HeadConfig(*known, width_of(known, width), normalize, scaled, last_layer, embedding_layer)

    def check_fits(self, network: nn.Module) -> None:
        """ValueError where the network has no such layers, or has them in other sizes, as far as can be read."""
        check_sizes(self, network, self.last_layer, self.embedding_layer)

    def captured(self, network: Any) -> AbstractContextManager[Features]:
        """:func:`captured` of this head's layers."""
        return captured(network, self.last_layer, self.embedding_layer)


class GenieHead(nn.Module):
    """k1, k2, k3 of the mixed parameterisation gamma d_epsilon = -k1 + sigma^2 k2 + alpha^2 k3 (VP), zero at first.

    conv3x3 of [x, epsilon, last features]; a residual block with the time embedding; GroupNorm, SiLU, conv3x3.
    Dockhorn, Vahdat and Kreis, arXiv 2210.05475. Differs from the published head in two things. Its maps are multiplied
    by 1/sqrt(1 + gamma^2): gamma d_epsilon is minus the derivative of the denoised image over gamma, so at large gamma
    it is that small, and a network without multiplicative conditioning learns it badly (docs/genie.md). And of the
    three convolutions that are published with weights scaled by 1e-10 the last is zero, the others are full size.
    """

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        self.config = config
        width, per_group = config.width, groups(config.width, config.width // 4)
        normalized = nn.GroupNorm(groups(config.features), config.features) if config.normalize else None
        self.norm_features = normalized
        self.conv_in = nn.Conv2d(2 * config.channels + config.features, width, 3, padding=1)
        self.norm1 = nn.GroupNorm(per_group, width, _NORM_EPS)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.embedding = nn.Linear(config.embedding, width)
        self.norm2 = nn.GroupNorm(per_group, width, _NORM_EPS)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.norm_out = nn.GroupNorm(per_group, width, _NORM_EPS)
        self.conv_out = nn.Conv2d(width, 3 * config.channels, 3, padding=1)
        for module in (self.conv_in, self.conv1, self.embedding, self.conv2, self.conv_out):
            outputs, inputs, area = len(module.weight), module.weight.shape[1], module.weight[0, 0].numel()
            bound = 0.0 if module is self.conv_out else math.sqrt(6.0 / (inputs * area + outputs * area))
            nn.init.uniform_(module.weight, -bound, bound)
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, epsilon: Tensor, last: Tensor, embedding: Tensor, gamma: Tensor) -> Tensor:
        """-> [B, 3 C, H, W]: k1, k2, k3.

        x (times :func:`input_scale`), epsilon: [B, C, H, W]; last: [B, F, H, W]; embedding: [B, E]; gamma: [B].
        """
        if self.norm_features is not None:
            last = self.norm_features(last)
        h = self.conv_in(torch.cat([x, epsilon, last], dim=1))
        shift = self.embedding(nn.functional.silu(embedding))[:, :, None, None]
        inner = self.conv1(nn.functional.silu(self.norm1(h))) + shift
        inner = self.conv2(nn.functional.silu(self.norm2(inner)))
        h = (h + inner) / math.sqrt(2.0)
        maps = self.conv_out(nn.functional.silu(self.norm_out(h)))
        return maps * torch.rsqrt(1.0 + gamma.square())[:, None, None, None] if self.config.scaled else maps
