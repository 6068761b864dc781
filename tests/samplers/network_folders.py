"""Folders of small networks with random weights, and of pipelines that hold them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

__all__ = ["save_dit", "save_pipeline", "save_unet"]


def save_unet(folder: Path, **options: Any) -> Path:
    from diffusers.models.unets.unet_2d import UNet2DModel

    torch.manual_seed(0)
    UNet2DModel(
        **{"sample_size": 8, "in_channels": 3, "out_channels": 3, "num_class_embeds": 4, **options},
        layers_per_block=1, block_out_channels=(8, 16), norm_num_groups=4,
        down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"),
    ).save_pretrained(folder, safe_serialization=True)  # fmt: skip
    return folder


def save_dit(folder: Path) -> Path:
    """Of 2-channel samples of 4x4, with three classes and the variance behind its prediction."""
    from diffusers.models.transformers.dit_transformer_2d import DiTTransformer2DModel

    torch.manual_seed(0)
    DiTTransformer2DModel(
        sample_size=4, in_channels=2, out_channels=4, patch_size=2, num_layers=1, num_attention_heads=1,
        attention_head_dim=8, num_embeds_ada_norm=3, norm_num_groups=1,
    ).save_pretrained(folder, safe_serialization=True)  # fmt: skip
    return folder


def save_pipeline(folder: Path, scheduler: dict[str, Any] | None, **options: Any) -> Path:
    """A U-Net in unet/, and a scheduler's JSON in scheduler/."""
    save_unet(folder / "unet", **options)
    if scheduler is not None:
        (folder / "scheduler").mkdir()
        (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))
    return folder
