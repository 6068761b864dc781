"""Heads in a folder beside their network's files: genie_head/config.json and its weights."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path

import torch

from .correction import CorrectionConfig, CorrectionHead
from .head import GenieHead, HeadConfig

__all__ = ["FOLDER", "Head", "load_head", "new_head", "save_head"]

Head = GenieHead | CorrectionHead

FOLDER = "genie_head"
_CONFIG, _WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"
_CONFIGS = {config.predicts: config for config in (HeadConfig, CorrectionConfig)}


def new_head(config: HeadConfig | CorrectionConfig) -> Head:
    """A head that predicts zero."""
    return GenieHead(config) if isinstance(config, HeadConfig) else CorrectionHead(config)


def save_head(head: Head, folder: Path | str, *, dtype: torch.dtype = torch.float16) -> Path:
    """Write ``folder``/genie_head, beside the network's own files, in place of an older one; returns that path."""
    from safetensors.torch import save

    target = Path(folder) / FOLDER
    partial = target.with_name(FOLDER + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    weights = {name: value.to(dtype).contiguous() for name, value in head.state_dict().items()}
    (partial / _WEIGHTS).write_bytes(save(weights))
    config = {"predicts": head.config.predicts, **asdict(head.config)}
    (partial / _CONFIG).write_text(json.dumps(config, indent=2) + "\n")
    if target.is_dir():
        shutil.rmtree(target)
    os.replace(partial, target)
    return target


def load_head(folder: Path | str) -> Head:
    """The head in ``folder``/genie_head or in ``folder`` itself, float32, in evaluation mode, without gradients."""
    from safetensors.torch import load_file

    folder = Path(folder)
    folder = folder / FOLDER if (folder / FOLDER).is_dir() else folder
    try:
        config = json.loads((folder / _CONFIG).read_text())
        head = new_head(_CONFIGS[config.pop("predicts")](**config))
        weights = load_file(folder / _WEIGHTS)
    except (FileNotFoundError, KeyError, TypeError) as error:  # the files may be the network's own
        raise ValueError(
            f"folder={str(folder)!r}: holds no GENIE head ({_CONFIG}, {_WEIGHTS}); make one with genie-samplers distill"
        ) from error
    head.load_state_dict({name: value.float() for name, value in weights.items()})
    return head.eval().requires_grad_(False)
