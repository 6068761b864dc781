"""diffusers U-Nets from their folders."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import nn

from ..schedules import Schedule
from .contract import Label
from .wrap import WrappedModel, wrap

__all__ = ["load"]

_NETWORKS = ("UNet2DModel", "UNet2DConditionModel")


def load(
    folder: Path | str,
    schedule: Schedule,
    *,
    prediction: str = "epsilon",
    label: Label | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> WrappedModel:
    """A ``UNet2DModel`` or ``UNet2DConditionModel`` from its diffusers folder, for evaluation, as :func:`wrap` has it.

    A class-conditional network is asked for its last class, the usual "no class", unless ``cond`` says another. Needs
    diffusers: pip install genie-ext[diffusers]. ValueError where the folder holds no such network.
    """
    config = Path(folder) / "config.json"
    if not config.is_file():
        raise ValueError(f"folder={str(folder)!r}: has no config.json; give the folder of a diffusers U-Net")
    kind = _class_name(config)
    if kind not in _NETWORKS:
        raise ValueError(f"folder={str(folder)!r}: holds a {kind}; give one of {', '.join(_NETWORKS)}")
    try:
        import diffusers
    except ImportError as error:
        raise ImportError("a diffusers network needs diffusers: pip install genie-ext[diffusers]") from error
    network = getattr(diffusers, kind).from_pretrained(
        folder, local_files_only=True, low_cpu_mem_usage=False, torch_dtype=dtype
    )
    nn.Module.to(network, torch.device(device))
    network.eval().requires_grad_(False)
    classes = network.config.get("num_class_embeds")
    defaults = {} if classes is None else {"class_labels": classes - 1}
    return wrap(network, schedule, prediction=prediction, label=label, defaults=defaults)


def _class_name(config: Path) -> object:
    try:
        return json.loads(config.read_text())["_class_name"]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"folder: {config} names no _class_name; give the folder of a diffusers U-Net") from error
