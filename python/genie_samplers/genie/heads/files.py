"""Heads in a folder beside their network's files: genie_head/config.json and its weights."""

from __future__ import annotations

import json
import math
import reprlib
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...files import (
    open_tensors,
    read_json,
    replacing_folder,
    shapes_of_module,
    unreadable,
    write_tensors,
    write_text,
)
from ...models import WrappedModel
from .correction import CorrectionConfig, CorrectionHead
from .head import GenieHead, HeadConfig

__all__ = ["FOLDER", "Head", "check_network", "load_head", "new_head", "save_head"]

Head = GenieHead | CorrectionHead

FOLDER = "genie_head"
_NETWORK = "network"
_CONFIG, _WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"
_FIX = "make a head with genie-samplers distill"
_CONFIGS = {config.predicts: config for config in (HeadConfig, CorrectionConfig)}


def new_head(config: HeadConfig | CorrectionConfig) -> Head:
    """A head that predicts zero."""
    return GenieHead(config) if isinstance(config, HeadConfig) else CorrectionHead(config)


def save_head(
    head: Head, folder: Path | str, *, model: WrappedModel | None = None, dtype: torch.dtype = torch.float16
) -> Path:
    """Write ``folder``/genie_head, beside the network's own files, in place of an older one; returns that path.

    model: what the head was distilled from. Its prediction, schedule and labels are written, too, so that
    :func:`check_network` tells a model that was wrapped otherwise.
    """
    weights = {name: value.to(dtype) for name, value in head.state_dict().items()}
    if bad := [name for name, value in weights.items() if not bool(value.isfinite().all())]:
        raise ValueError(f"head: {bad[0]} is not finite in {dtype}; save it with dtype=torch.float32")
    config: dict[str, object] = {"predicts": head.config.predicts, **asdict(head.config)}
    if model is not None:
        config[_NETWORK] = _description(model)
    target = Path(folder) / FOLDER
    with replacing_folder(target) as partial:
        write_tensors(partial / _WEIGHTS, weights)
        write_text(partial / _CONFIG, json.dumps(config, indent=2) + "\n")
    return target


def check_network(folder: Path | str, model: WrappedModel) -> None:
    """ValueError where the head in ``folder`` was distilled from a model of other prediction, schedule or labels."""
    known = _read_config(_home(folder))[1]
    for name, value in json.loads(json.dumps(_description(model))).items():
        if name in known and not _alike(value, known[name]):
            raise ValueError(
                f"model: has {name} {reprlib.repr(value)}, but the head in {str(folder)!r} was distilled from a "
                f"network with {reprlib.repr(known[name])}; wrap the model as it was then"
            )


def _alike(a: Any, b: Any) -> bool:
    """Equal, numbers up to what processors differ in."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_alike(value, b[name]) for name, value in a.items())
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_alike, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-12)
    return a == b


def load_head(folder: Path | str) -> Head:
    """The head in ``folder``/genie_head or in ``folder`` itself, float32, in evaluation mode, without gradients."""
    home = _home(folder)
    config, _ = _read_config(home)
    with open_tensors(home / _WEIGHTS, _FIX) as file:
        largest = sum(map(math.prod, file.shapes.values()))
        for name, value in asdict(config).items():
            if isinstance(value, int) and value > largest:
                raise ValueError(f"{home / _CONFIG}: {name} is {value}, and its weights hold {largest} numbers; {_FIX}")
        with unreadable(home / _CONFIG, _FIX), torch.device("meta"):  # nothing of its size is allocated
            head = new_head(config)
        file.check(shapes_of_module(head))
        weights = {name: value.float() for name, value in file.read().items()}
    if bad := [name for name, value in weights.items() if not bool(value.isfinite().all())]:
        raise ValueError(f"{home / _WEIGHTS}: {bad[0]} holds inf or NaN; {_FIX}")
    head.load_state_dict(weights, assign=True)
    return head.eval().requires_grad_(False)


def _home(folder: Path | str) -> Path:
    folder = Path(folder)
    return folder / FOLDER if (folder / FOLDER).is_dir() else folder


def _read_config(home: Path) -> tuple[HeadConfig | CorrectionConfig, dict[str, Any]]:
    """What the head is, and what it says of its network."""
    path = home / _CONFIG
    found = read_json(path, _FIX) if path.exists() and (home / _WEIGHTS).exists() else {}
    network = found.pop(_NETWORK, {})
    predicts = found.pop("predicts", None)
    if not isinstance(predicts, str) or predicts not in _CONFIGS:  # the files may be the network's own
        raise ValueError(f"folder={str(home)!r}: holds no GENIE head ({_CONFIG}, {_WEIGHTS}); {_FIX}")
    if not isinstance(network, dict) or network.keys() - {"prediction", "schedule", "labels"}:
        raise ValueError(f"{path}: {_NETWORK} is {reprlib.repr(network)}; {_FIX}")
    known = {field.name: field for field in fields(_CONFIGS[predicts])}
    if unknown := sorted(found.keys() - known.keys()):
        raise ValueError(f"{path}: {unknown[0]!r} is unknown; {_FIX}")
    for name, field in known.items():
        if name not in found and field.default is MISSING:
            raise ValueError(f"{path}: {name!r} is missing; {_FIX}")
        if name in found and not _is_setting(name, found[name], str(field.type)):
            raise ValueError(f"{path}: {name} is {reprlib.repr(found[name])}; {_FIX}")
    return _CONFIGS[predicts](**found), network


def _is_setting(name: str, value: object, kind: str) -> bool:
    """Whether a value is of the type that the config declares, a size at least 1 (memory: 0)."""
    if kind == "int":
        return type(value) is int and value >= (0 if name == "memory" else 1)
    return type(value) is {"bool": bool, "str": str}[kind]


def _description(model: WrappedModel) -> dict[str, object]:
    """JSON, labels at five times."""
    schedule = model.schedule
    labels = np.asarray(model.label(np.linspace(schedule.t_end, schedule.t_max, 5))).tolist()
    return {"prediction": model.outputs[0], "schedule": schedule.to_dict(), "labels": labels}
