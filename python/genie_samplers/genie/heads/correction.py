"""A head of corrections: the defect of a multistep step, from the network's features and its predictions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..._arguments import integer
from .features import LAST_LAYER, Features, captured, check_sizes, expand_like, groups, sizes, width_of

__all__ = ["CorrectionConfig", "CorrectionHead", "divided_differences"]

_FREQUENCIES = tuple(2.0**power for power in range(-2, 4))
_CONDITIONING = 128


@dataclass(frozen=True)
class CorrectionConfig:
    """channels: of a sample. features: channels of the last feature map. width: channels inside the head.

    memory: how many earlier predictions it sees. last_layer: the layer of the network that the head is attached to.
    """

    channels: int
    features: int
    width: int
    memory: int = 2
    last_layer: str = LAST_LAYER

    predicts: ClassVar[str] = "correction"
    derivative: ClassVar[str] = "correction"  # the option of the plans that read it
    outputs: ClassVar[tuple[str, ...]] = ("c1", "c2", "c3")

    def __post_init__(self) -> None:
        integer(self.memory, "memory", least=0)

    @staticmethod
    def of(
        network: nn.Module, *, width: int | None = None, memory: int = 2, last_layer: str = LAST_LAYER
    ) -> CorrectionConfig:
        """For a diffusers U-Net, read from its layers; ``width`` is that of its last feature map by default.

        ValueError where a layer is missing, a size cannot be read, or the network returns other channels than it takes.
        """
        known = sizes(network, last_layer)
        return CorrectionConfig(known.channels, known.features, width_of(known, width), memory, last_layer)

    def check_fits(self, network: nn.Module) -> None:
        """ValueError where the network has no layer of this name, or has it in another size, as far as can be read."""
        check_sizes(self, network, self.last_layer)

    def captured(self, network: Any) -> AbstractContextManager[Features]:
        """:func:`captured` of this head's layer."""
        return captured(network, self.last_layer, None)


class CorrectionHead(nn.Module):
    """c1, c2, c3 of the correction -c1 + sigma^2 c2 + alpha^2 c3 (VP) of a step in log gamma, zero at first.

    The correction is what gamma d epsilon/d gamma has beyond the slope that the polynomial through the newest
    predictions has there, at the scale of the step. conv3x3 of [x, epsilon, divided differences of the predictions,
    last features]; a residual block; GroupNorm, SiLU, conv3x3. log gamma and the widths of the step and of those that
    the polynomial spans scale and shift the maps after every norm, so that one head serves every grid, every number of
    evaluations and every degree. The output is in units of what such a polynomial may miss, over sqrt(1 + gamma^2).
    """

    def __init__(self, config: CorrectionConfig) -> None:
        super().__init__()
        self.config = config
        width, inputs = config.width, (2 + config.memory) * config.channels + config.features
        self.conv_in = nn.Conv2d(inputs, width, 3, padding=1)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.conv_out = nn.Conv2d(width, 3 * config.channels, 3, padding=1)
        self.norms = nn.ModuleList(nn.GroupNorm(groups(width, width // 4), width) for _ in range(3))
        self.conditioning = nn.Sequential(
            nn.Linear(2 * len(_FREQUENCIES) * (2 + config.memory), _CONDITIONING), nn.SiLU(),
            nn.Linear(_CONDITIONING, _CONDITIONING), nn.SiLU(), nn.Linear(_CONDITIONING, 6 * width + 1),
        )  # fmt: skip
        for module in (self.conv_out, self.conditioning[-1]):
            nn.init.zeros_(module.weight)  # type: ignore[arg-type]
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, epsilon: Tensor, history: Sequence[Tensor], last: Tensor, step: Tensor) -> Tensor:
        """-> [B, 3 C, H, W]: c1, c2, c3.

        x (times :func:`input_scale`), epsilon: [B, C, H, W]. history: earlier predictions, newest first, as many as
        there are; last: [B, F, H, W]. step: [B, 2 + memory], log gamma, then the falls of log gamma over the step and
        over those before, zero for those that the polynomial does not span.
        """
        log_gamma, widths = step[:, 0], step[:, 1:]
        size = torch.sqrt(1.0 + torch.exp(2.0 * log_gamma))
        differences = divided_differences((epsilon, *history[: self.config.memory]), widths[:, 1:])
        scaled = [expand_like(size, d) * d for d in differences]
        *modulation, gain = self.conditioning(_waves(step)).split([*[2 * self.config.width] * 3, 1], dim=1)
        h = self.conv_in(torch.cat([x, epsilon, *scaled, last], dim=1))
        inner = self.conv1(self._activated(0, h, modulation))
        inner = self.conv2(self._activated(1, inner, modulation))
        h = (h + inner) / math.sqrt(2.0)
        maps = self.conv_out(self._activated(2, h, modulation))
        return maps * expand_like(torch.exp(gain[:, 0]) * _interpolation_error(widths) / size, maps)

    def _activated(self, place: int, h: Tensor, modulation: Sequence[Tensor]) -> Tensor:
        scale, shift = (expand_like(v, h) for v in modulation[place].chunk(2, dim=1))
        return functional.silu(self.norms[place](h) * (1.0 + scale) + shift)


def divided_differences(values: Sequence[Tensor], widths: Tensor) -> list[Tensor]:
    """Newton's coefficients of the polynomial through ``values`` [B, ...], newest first, but for the first of them.

    widths: [B, m], the distances between neighbouring nodes; of the m coefficients those are zero to which a width of
    zero, or no value, belongs.
    """
    ends = torch.cat([torch.zeros_like(widths[:, :1]), widths.cumsum(1)], dim=1)
    row, found = list(values), []
    for order in range(1, widths.shape[1] + 1):
        spans = [ends[:, order + j] - ends[:, j] for j in range(len(row) - 1)]
        row = [
            (a - b) * expand_like(torch.where(widths[:, order + j - 1] > 0, 1.0 / span, 0.0), a)
            for j, ((a, b), span) in enumerate(zip(pairwise(row), spans, strict=True))
        ]
        found.append(row[0] if row else torch.zeros_like(values[0]))
    return found


def _interpolation_error(widths: Tensor) -> Tensor:
    """About what a polynomial through the earlier nodes misses at the end of the step, of functions of size one.

    Newton's product of the distances d_j to the earlier nodes over (j + 1)!, each factor u = d_j / (j + 1) bounded as
    u / (1 + 3 u): predictions change on the scale of one in log gamma (docs/genie.md).
    """
    factors = widths.cumsum(1)[:, 1:] / torch.arange(2, widths.shape[1] + 1).to(widths)
    return torch.where(widths[:, 1:] > 0, factors / (1.0 + 3.0 * factors), 1.0).prod(1)


def _waves(step: Tensor) -> Tensor:
    angles = (step[:, :, None] * torch.tensor(_FREQUENCIES).to(step)).flatten(1)
    return torch.cat([angles.sin(), angles.cos()], dim=1)
