"""U-Nets of diffusers in float64, their time embedding included."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

import genie_samplers as gs
from genie_samplers.models.wrap import WrappedModel

__all__ = ["CONDITIONS", "UNETS", "conditional_unet", "embedded_unet"]

F64 = torch.float64
BATCH = 2


class Sinusoids(nn.Module):
    """[B] -> [B, size]; that of diffusers rounds to float32."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, label: Tensor) -> Tensor:
        place = torch.arange(self.size // 2, dtype=F64, device=label.device)
        angle = label[:, None].double() * torch.exp(-math.log(1e4) * place / (self.size // 2))
        return torch.cat([torch.cos(angle), torch.sin(angle)], dim=1)


def embedded_unet() -> WrappedModel:
    """The UNet2DModel of the package."""
    model = gs.demo.embedded(dtype=F64)
    network: Any = model.network
    network.time_proj = Sinusoids(32)
    return model


def conditional_unet() -> WrappedModel:
    """A small UNet2DConditionModel with random weights, for 2-channel images and a text of 3 tokens."""
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    torch.manual_seed(0)
    network: Any = UNet2DConditionModel(
        sample_size=8, in_channels=2, out_channels=2, layers_per_block=1, block_out_channels=(16, 32),
        norm_num_groups=4, cross_attention_dim=8, attention_head_dim=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )  # fmt: skip
    network.time_proj = Sinusoids(16)
    network.double().eval().requires_grad_(False)
    schedule = gs.schedules.vp_linear()
    return gs.models.wrap(network, schedule, label=schedule.log_gamma)


def _normals(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(3))


UNETS = {"UNet2DModel": embedded_unet, "UNet2DConditionModel": conditional_unet}
CONDITIONS: dict[str, tuple[Tensor, dict[str, Tensor]]] = {
    "UNet2DModel": (_normals(BATCH, 1, 28, 28), {"class_labels": torch.tensor([3, 10])}),
    "UNet2DConditionModel": (_normals(BATCH, 2, 8, 8), {"encoder_hidden_states": _normals(BATCH, 3, 8)}),
}
"""A state and the conditioning of each."""
