"""Images, latents and plans that commands read and write."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..files import (
    check_target,
    open_tensors,
    read_npy,
    read_png,
    read_text,
    replacing,
    unreadable,
    write_tensors,
)
from ..plan import Plan
from .fashion import IMAGE_SHAPE

__all__ = [
    "check_keeps_inputs",
    "check_latents_target",
    "read_array",
    "read_images",
    "read_latents",
    "read_plan",
    "write_latents",
]

_LATENT_SUFFIXES = (".npy", ".safetensors")
_KEY = "latents"
_HEIGHT, _WIDTH = IMAGE_SHAPE[1:]
_IMAGE_FIX = f"give a PNG or a .npy of grey images of {_HEIGHT} x {_WIDTH} pixels"
_LATENTS_FIX = "write one with `genie-samplers encode`"


def read_images(paths: Sequence[Path]) -> Tensor:
    """PNG files and .npy arrays [28, 28], [B, 28, 28] or [B, 1, 28, 28] as float32 [B, 1, 28, 28] in [-1, 1].

    Integers are grey levels 0..255, floats lie in [-1, 1]. ValueError naming the file where it holds anything else.
    """
    arrays = [
        _array(path) if path.suffix == ".npy" else read_png(path, (_WIDTH, _HEIGHT), _IMAGE_FIX) for path in paths
    ]
    return torch.cat([_as_batch(array, path) for array, path in zip(arrays, paths, strict=True)])


def read_array(path: Path) -> np.ndarray:
    """Of a .npy file; ValueError naming it where it holds anything else."""
    return read_npy(path, "write one with numpy.save")


def read_latents(path: Path) -> Tensor:
    """[B, 1, 28, 28] from a .npy or .safetensors file that ``encode`` wrote."""
    if path.suffix == ".safetensors":
        with open_tensors(path, _LATENTS_FIX) as file:
            if _KEY not in file.shapes:
                raise ValueError(f"{path}: holds {sorted(file.shapes)}, not {_KEY!r}; {_LATENTS_FIX}")
            latents = file.read([_KEY])[_KEY]
    else:
        array = read_npy(path, _LATENTS_FIX)
        with unreadable(path, _LATENTS_FIX):
            latents = torch.from_numpy(array)
    if latents.shape[1:] != IMAGE_SHAPE or not latents.is_floating_point():
        fix = f"need floats [B, {', '.join(map(str, IMAGE_SHAPE))}]"
        raise ValueError(f"{path}: {latents.dtype} {tuple(latents.shape)}; {fix}")
    if not bool(latents.isfinite().all()):
        raise ValueError(f"{path}: holds inf or NaN; {_LATENTS_FIX}")
    return latents


def read_plan(path: Path) -> Plan:
    fix = "write one with `genie-samplers plan --json`"
    text = read_text(path, fix)
    with unreadable(path, fix):
        return Plan.from_json(text)


def check_keeps_inputs(targets: Iterable[Path], inputs: Sequence[Path]) -> None:
    """ValueError where a file to come is one that is read, under this name or another."""
    for target in filter(Path.exists, targets):
        if any(target.samefile(path) for path in inputs):
            raise ValueError(f"{target}: would overwrite an input; choose another --out or --latents")


def check_latents_target(path: Path) -> None:
    if path.suffix not in _LATENT_SUFFIXES:
        raise ValueError(f"--latents {path}; need a name that ends in {' or '.join(_LATENT_SUFFIXES)}")
    check_target(path, suffix=path.suffix, name="latents")


def write_latents(path: Path, latents: Tensor) -> None:
    if path.suffix == ".safetensors":
        write_tensors(path, {_KEY: latents})
    else:
        with replacing(path) as partial:
            np.save(partial, latents.numpy())


def _array(path: Path) -> np.ndarray:
    return read_npy(path, _IMAGE_FIX)


def _as_batch(array: np.ndarray, path: Path) -> Tensor:
    size = IMAGE_SHAPE[1:]
    shapes = (size, (*array.shape[:1], *size), (*array.shape[:1], *IMAGE_SHAPE))
    if array.shape not in shapes or array.size == 0 or array.dtype.kind not in "iuf":
        raise ValueError(f"{path}: {array.dtype} {array.shape}; need grey images of {size[0]} x {size[1]} pixels")
    least, most = (-1, 1) if array.dtype.kind == "f" else (0, 255)
    if not (least <= array.min() and array.max() <= most):  # nor NaN
        kind = "floats" if array.dtype.kind == "f" else "integers"
        raise ValueError(f"{path}: {kind} {array.min()}..{array.max()}; need {least}..{most}")
    scaled = array if array.dtype.kind == "f" else array / 127.5 - 1.0
    return torch.from_numpy(scaled.astype(np.float32)).reshape(-1, *IMAGE_SHAPE)
