"""diffusers U-Nets from their folders."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..files import Shapes, check_same, open_tensors, read_json, require, shapes_of_module, unreadable
from ..schedules import Schedule
from .contract import Label
from .wrap import WrappedModel, wrap

__all__ = ["load"]

_NETWORKS = ("UNet2DModel", "UNet2DConditionModel")
_WEIGHTS = "diffusion_pytorch_model.safetensors"
_LAYERS = ("layers_per_block", "transformer_layers_per_block")
_FIX = "give the folder of a diffusers U-Net as save_pretrained writes it, with safe_serialization"


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
    diffusers: pip install genie-ext[diffusers]. Weights are read from safetensors files only. ValueError where the
    folder holds no such network, or a weight is missing, unexpected or of another shape than config.json says.
    """
    home = Path(folder)
    config = home / "config.json"
    if not config.is_file():
        raise ValueError(f"folder={str(folder)!r}: has no config.json; give the folder of a diffusers U-Net")
    described = read_json(config, _FIX)
    kind = described.get("_class_name")
    if kind not in _NETWORKS:
        if kind is None:
            raise ValueError(f"{config}: names no _class_name; {_FIX}")
        raise ValueError(f"folder={str(folder)!r}: holds a {kind}; give one of {', '.join(_NETWORKS)}")
    require("a diffusers network", "diffusers", "safetensors", extra="diffusers")
    import diffusers

    network_class = getattr(diffusers, kind)
    _check_sizes(network_class, described, home)
    with torch.random.fork_rng(devices=[]), unreadable(home, _FIX):  # layers are made with random weights first
        network, info = network_class.from_pretrained(
            home, local_files_only=True, low_cpu_mem_usage=False, torch_dtype=dtype, use_safetensors=True,
            output_loading_info=True,
        )  # fmt: skip
    for defect in ("missing", "unexpected", "mismatched"):
        if names := sorted(map(str, info[f"{defect}_keys"])):
            raise ValueError(f"{home}: the weight {names[0]} is {defect}; {_FIX}")
    nn.Module.to(network, torch.device(device))
    network.eval().requires_grad_(False)
    classes = network.config.get("num_class_embeds")
    defaults = {} if classes is None else {"class_labels": classes - 1}
    return wrap(network, schedule, prediction=prediction, label=label, defaults=defaults)


def _check_sizes(network_class: Any, described: Mapping[str, Any], home: Path) -> None:
    """ValueError where the config is of a network that the weights cannot be of; nothing of its size is allocated."""
    held = _held_shapes(home)
    layers = [described.get(name) for name in _LAYERS]
    if any(isinstance(n, int) and n > len(held) for n in layers):
        raise ValueError(f"{home / 'config.json'}: has more layers than its {len(held)} weights can be of; {_FIX}")
    with unreadable(home / "config.json", _FIX), torch.device("meta"):
        expected = shapes_of_module(network_class.from_config(dict(described)))
    # as many numbers: from_pretrained knows older names of some layers
    if sum(map(math.prod, expected.values())) != sum(map(math.prod, held.values())):
        check_same(expected, held, home / _WEIGHTS, _FIX)


def _held_shapes(home: Path) -> Shapes:
    """Of all weights in the folder: in one file, or in those that an index names."""
    index = home / f"{_WEIGHTS}.index.json"
    names = {_WEIGHTS}
    if not (home / _WEIGHTS).exists() and index.exists():
        listed = read_json(index, _FIX).get("weight_map")
        if not isinstance(listed, dict) or not all(isinstance(n, str) and Path(n).name == n for n in listed.values()):
            raise ValueError(f"{index}: has no weight_map of files beside it; {_FIX}")
        names = set(listed.values())
    shapes: dict[str, tuple[int, ...]] = {}
    for name in sorted(names):
        with open_tensors(home / name, _FIX) as weights:
            shapes |= weights.shapes
    return shapes
