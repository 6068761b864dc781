"""Heads in a folder beside their network's files: genie_head/config.json and its weights."""

from __future__ import annotations

import json
import math
import os
import reprlib
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...models import WrappedModel
from .correction import CorrectionConfig, CorrectionHead
from .head import GenieHead, HeadConfig

__all__ = ["FOLDER", "Head", "check_network", "load_head", "new_head", "save_head"]

Head = GenieHead | CorrectionHead

FOLDER = "genie_head"
_NETWORK = "network"
_CONFIG, _WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"
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
    from safetensors.torch import save

    target = Path(folder) / FOLDER
    partial = target.with_name(FOLDER + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    weights = {name: value.to(dtype).contiguous() for name, value in head.state_dict().items()}
    if bad := [name for name, value in weights.items() if not bool(value.isfinite().all())]:
        raise ValueError(f"head: {bad[0]} is not finite in {dtype}; save it with dtype=torch.float32")
    (partial / _WEIGHTS).write_bytes(save(weights))
    config: dict[str, object] = {"predicts": head.config.predicts, **asdict(head.config)}
    if model is not None:
        config[_NETWORK] = _description(model)
    (partial / _CONFIG).write_text(json.dumps(config, indent=2) + "\n")
    place = target.resolve()  # of a link what it leads to
    old = place.with_name(place.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if place.is_dir():
        os.replace(place, old)
    os.replace(partial, place)
    shutil.rmtree(old, ignore_errors=True)
    return target


def check_network(folder: Path | str, model: WrappedModel) -> None:
    """ValueError where the head in ``folder`` was distilled from a model of other prediction, schedule or labels."""
    known = _config(_home(folder)).get(_NETWORK, {})
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
    from safetensors.torch import load_file

    home = _home(folder)
    try:
        config = _config(home)
        config.pop(_NETWORK, None)
        head = new_head(_CONFIGS[config.pop("predicts")](**config))
        weights = load_file(home / _WEIGHTS)
    except (FileNotFoundError, KeyError, TypeError) as error:  # the files may be the network's own
        raise ValueError(
            f"folder={str(folder)!r}: holds no GENIE head ({_CONFIG}, {_WEIGHTS}); make one with genie-samplers distill"
        ) from error
    head.load_state_dict({name: value.float() for name, value in weights.items()})
    return head.eval().requires_grad_(False)


def _home(folder: Path | str) -> Path:
    folder = Path(folder)
    return folder / FOLDER if (folder / FOLDER).is_dir() else folder


def _config(home: Path) -> dict[str, Any]:
    return json.loads((home / _CONFIG).read_text())


def _description(model: WrappedModel) -> dict[str, object]:
    """JSON, labels at five times."""
    schedule = model.schedule
    labels = model.label(np.linspace(schedule.t_end, schedule.t_max, 5)).tolist()
    return {"prediction": model.outputs[0], "schedule": schedule.to_dict(), "labels": labels}
