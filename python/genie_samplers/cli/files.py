"""Images, latents and plans that commands read and write."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..files import (
    PICTURE_SUFFIXES,
    check_target,
    open_tensors,
    pictures_in,
    read_npy,
    read_picture,
    read_text,
    replacing,
    unreadable,
    write_tensors,
)
from ..plan import Plan

__all__ = [
    "check_keeps_inputs",
    "check_latents_target",
    "read_images",
    "read_latents",
    "read_plan",
    "write_latents",
]

_LATENT_SUFFIXES = (".npy", ".safetensors")
_KEY = "latents"
_PICTURE_FIX = "give a PNG or JPEG, a folder of them, or a .npy"
_LATENTS_FIX = "write one with `genie-samplers encode`"

Shape = tuple[int, int, int]


def read_images(paths: Sequence[Path], shape: Shape) -> NDArray[np.float32]:
    """float32 [N, C, H, W] of pictures, folders of pictures and .npy files, with ``shape`` = (C, H, W).

    Pictures are resized, cropped around their centre and scaled to [-1, 1]. Arrays are [H, W], [N, H, W] or
    [N, C, H, W], of integers 0..255 or floats in [-1, 1]; of samples that are no pictures, of any floats. ValueError
    naming the file where it holds anything else.
    """
    return np.concatenate([_images(path, shape) for path in paths])


def read_latents(path: Path, shape: Shape) -> Tensor:
    """[N, C, H, W] from a .npy or .safetensors file that ``encode`` wrote, with ``shape`` = (C, H, W)."""
    if path.suffix == ".safetensors":
        with open_tensors(path, _LATENTS_FIX) as file:
            if _KEY not in file.shapes:
                raise ValueError(f"{path}: holds {sorted(file.shapes)}, not {_KEY!r}; {_LATENTS_FIX}")
            latents = file.read([_KEY])[_KEY]
    else:
        array = read_npy(path, _LATENTS_FIX)
        with unreadable(path, _LATENTS_FIX):
            latents = torch.from_numpy(array)
    if latents.shape[1:] != shape or not latents.is_floating_point():
        fix = f"need floats [N, {', '.join(map(str, shape))}]"
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


def _images(path: Path, shape: Shape) -> NDArray[np.float32]:
    if path.suffix == ".npy":
        return _scaled(read_npy(path, _PICTURE_FIX), path, shape)
    if shape[0] not in (1, 3):
        raise ValueError(f"{path}: the network's samples have {shape[0]} channels; give a .npy of floats [N, C, H, W]")
    if path.is_dir():
        files = pictures_in(path)
    elif path.suffix.lower() in PICTURE_SUFFIXES:
        files = [path]
    else:
        raise ValueError(f"{path}: ends in none of .npy, {', '.join(PICTURE_SUFFIXES)}; {_PICTURE_FIX}")
    return _scaled(np.stack([read_picture(file, shape, _PICTURE_FIX) for file in files]), path, shape)


def _scaled(array: NDArray[Any], path: Path, shape: Shape) -> NDArray[np.float32]:
    """An array as float32 [N, C, H, W]."""
    channels, height, width = shape
    is_picture, is_float = channels in (1, 3), array.dtype.kind == "f"
    kinds = "integers or floats" if is_picture else "floats"
    known = [(height, width), (*array.shape[:1], height, width)] if channels == 1 else []
    fits = array.shape in (*known, (*array.shape[:1], *shape)) and array.size > 0
    if not fits or not (is_float or (is_picture and array.dtype.kind in "iu")):
        raise ValueError(
            f"{path}: {array.dtype} {array.shape}; need {kinds} [N, {channels}, {height}, {width}], N 1 or more"
        )
    least, most = (-1, 1) if is_float else (0, 255)
    if is_picture and not (least <= array.min() and array.max() <= most):  # nor NaN
        kind = "floats" if is_float else "integers"
        raise ValueError(f"{path}: {kind} {array.min()}..{array.max()}; need {least}..{most}")
    if not bool(np.isfinite(array).all()):
        raise ValueError(f"{path}: holds inf or NaN; leave those samples out")
    values = array if is_float else array / 127.5 - 1.0
    return values.astype(np.float32).reshape(-1, *shape)
