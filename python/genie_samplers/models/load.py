"""diffusers networks from their folders, and from those of pipelines."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..files import Shapes, check_same, open_tensors, read_json, require, shapes_of_module, unreadable
from ..schedules import Schedule
from .calibrated import PLANS_FOLDER, CalibratedPlans
from .contract import Label
from .folder import NetworkFolder, read_folder
from .wrap import INPUTS, LABELS, WrappedModel, wrap

__all__ = ["class_count", "load"]

_NETWORKS = ("UNet2DModel", "UNet2DConditionModel", "DiTTransformer2DModel")
_WEIGHTS = "diffusion_pytorch_model.safetensors"
_LAYERS = ("layers_per_block", "transformer_layers_per_block")
_FIX = "give the folder of a diffusers network as save_pretrained writes it, with safe_serialization"


def load(
    folder: Path | str | NetworkFolder,
    schedule: Schedule | None = None,
    *,
    prediction: str | None = None,
    label: Label | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> WrappedModel:
    """A diffusers ``UNet2DModel``, ``UNet2DConditionModel`` or ``DiTTransformer2DModel``, as :func:`wrap` has it.

    folder: of the network, or of a pipeline that holds it. schedule, prediction, label: by default what the folder says
    (:func:`read_folder`); where it is silent the prediction is epsilon, the label the schedule's, and a schedule has to
    be given. A class-conditional network is asked for its last class, the usual "no class", unless ``cond`` says
    another. Needs diffusers: pip install genie-ext[diffusers]. Weights are read from safetensors files only, for
    evaluation. ValueError where the folder holds no such network, or a weight is missing, unexpected or of another
    shape than config.json says.
    """
    found = folder if isinstance(folder, NetworkFolder) else read_folder(folder)
    schedule = found.schedule if schedule is None else schedule
    if schedule is None:
        raise ValueError(f"schedule: nothing in {str(found.home)!r} says it; give the one that it was trained with")
    if label is None and found.label is not None:
        label = LABELS[found.label](schedule)
    network = _network(found, dtype)
    nn.Module.to(network, torch.device(device))
    network.eval().requires_grad_(False)
    count = class_count(network.config)
    defaults = {} if count is None else {"class_labels": count - 1}
    call = _first_channels if type(network).__name__ == "DiTTransformer2DModel" else None
    prediction = prediction or found.prediction or "epsilon"
    model = wrap(
        network, schedule, prediction=prediction, label=label, call=call, defaults=defaults,
        input_scale=INPUTS[found.input](schedule),
    )  # fmt: skip
    model.calibrated = CalibratedPlans(found.home / PLANS_FOLDER, model)
    return model


def class_count(config: Mapping[str, Any]) -> int | None:
    """How many class labels a network of this config takes, its last, "no class", included; None: it takes none."""
    if config.get("num_embeds_ada_norm") is not None:
        return config["num_embeds_ada_norm"] + 1
    return config.get("num_class_embeds")


def _first_channels(network: Any, x: Tensor, t: Tensor, **cond: Any) -> Tensor:
    """What the network predicts, without the variance that may follow it."""
    return network(x, t, **cond).sample[:, : x.shape[1]]


def _network(found: NetworkFolder, dtype: torch.dtype) -> Any:
    """A module with the weights of the folder."""
    kind, config = found.config.get("_class_name"), found.home / "config.json"
    if kind not in _NETWORKS:
        if kind is None:
            raise ValueError(f"{config}: names no _class_name; {_FIX}")
        raise ValueError(f"folder={str(found.home)!r}: holds a {kind}; give one of {', '.join(_NETWORKS)}")
    require("a diffusers network", "diffusers", "safetensors", extra="diffusers")
    import diffusers

    network_class = getattr(diffusers, kind)
    _check_sizes(network_class, found.config, found.home)
    with torch.random.fork_rng(devices=[]), unreadable(found.home, _FIX):  # layers are made with random weights first
        network, info = network_class.from_pretrained(
            found.home, local_files_only=True, low_cpu_mem_usage=False, torch_dtype=dtype, use_safetensors=True,
            output_loading_info=True,
        )  # fmt: skip
    for defect in ("missing", "unexpected", "mismatched"):
        if names := sorted(map(str, info[f"{defect}_keys"])):
            raise ValueError(f"{found.home}: the weight {names[0]} is {defect}; {_FIX}")
    return network


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
