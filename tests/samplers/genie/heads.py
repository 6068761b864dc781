"""A small U-Net with its model, and data for it."""

from __future__ import annotations

import torch
from torch import nn

import genie_samplers as gs
from genie_samplers import genie
from genie_samplers.models import WrappedModel
from genie_samplers.schedules import Schedule

__all__ = ["SCHEDULE", "SCHEDULES", "correction_head", "data", "head", "model", "network"]

SCHEDULE = gs.schedules.vp_linear()
SCHEDULES: dict[str, Schedule] = {
    "vp_linear": SCHEDULE,
    "edm": gs.schedules.edm(),
    "ve": gs.schedules.ve(),
    "flow": gs.schedules.flow(t_max=4096.0 / 4097.0),
}
"""One of each kind: unit size, noise on top of the data, the straight line."""


def network() -> nn.Module:
    from diffusers.models.unets.unet_2d import UNet2DModel

    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=8, in_channels=2, out_channels=2, layers_per_block=1, block_out_channels=(8, 16),
        down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=4, attention_head_dim=8, num_class_embeds=4,
    )  # fmt: skip
    return unet.eval().requires_grad_(False)


def model(prediction: str = "epsilon", schedule: Schedule = SCHEDULE) -> WrappedModel:
    return gs.models.wrap(
        network(), schedule, prediction=prediction, label=schedule.log_gamma, defaults={"class_labels": 3}
    )


def data(count: int = 12) -> genie.Data:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(count, 2, 8, 8, generator=generator) * 2.0 - 1.0
    return genie.Data(images, {"class_labels": torch.arange(count) % 3}, {"class_labels": 3})


def head(*, seed: int = 0, **options: object) -> genie.GenieHead:
    """One of the derivative, whose last layer is not zero."""
    config = genie.HeadConfig.of(network(), **options)  # type: ignore[arg-type]
    torch.manual_seed(seed)
    made = genie.GenieHead(config)
    torch.nn.init.normal_(made.conv_out.weight, std=0.1)
    return made.eval().requires_grad_(False)


def correction_head(*, seed: int = 0, **options: object) -> genie.CorrectionHead:
    """One of corrections, whose last layers are not zero."""
    config = genie.CorrectionConfig.of(network(), **options)  # type: ignore[arg-type]
    torch.manual_seed(seed)
    made = genie.CorrectionHead(config)
    for layer in (made.conv_out, made.conditioning[-1]):
        torch.nn.init.normal_(layer.weight, std=0.1)  # type: ignore[arg-type]
    return made.eval().requires_grad_(False)
