"""Images and latents that commands read and write."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from . import images
from .options import IMAGE_SHAPE

__all__ = ["check_keeps_inputs", "check_latents_target", "read_array", "read_images", "read_latents", "write_latents"]

_LATENT_SUFFIXES = (".npy", ".safetensors")
_KEY = "latents"
_T = TypeVar("_T")


def read_images(paths: Sequence[Path]) -> Tensor:
    """PNG files and .npy arrays [28, 28], [B, 28, 28] or [B, 1, 28, 28] as float32 [B, 1, 28, 28] in [-1, 1].

    Integers are grey levels 0..255, floats lie in [-1, 1]. ValueError naming the file where it holds anything else.
    """
    return torch.cat([_as_batch(_parsed(path, _array if path.suffix == ".npy" else _grey), path) for path in paths])


def read_array(path: Path) -> np.ndarray:
    """Of a .npy file; ValueError naming it where it holds anything else."""
    return _parsed(path, _array)


def read_latents(path: Path) -> Tensor:
    """[B, 1, 28, 28] from a .npy or .safetensors file that ``encode`` wrote."""
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        tensors = _parsed(path, load_file)
        if _KEY not in tensors:
            raise ValueError(f"{path}: holds {sorted(tensors)}, not {_KEY!r}; write one with `genie-samplers encode`")
        latents = tensors[_KEY]
    else:
        latents = _parsed(path, lambda path: torch.from_numpy(_array(path)))
    if latents.shape[1:] != IMAGE_SHAPE or not latents.is_floating_point():
        fix = f"need floats [B, {', '.join(map(str, IMAGE_SHAPE))}]"
        raise ValueError(f"{path}: {latents.dtype} {tuple(latents.shape)}; {fix}")
    return latents


def check_keeps_inputs(targets: Iterable[Path], inputs: Sequence[Path]) -> None:
    """ValueError where a file to come is one that is read, under this name or another."""
    for target in filter(Path.exists, targets):
        if any(target.samefile(path) for path in inputs):
            raise ValueError(f"{target}: would overwrite an input; choose another --out or --latents")


def check_latents_target(path: Path) -> None:
    if path.suffix not in _LATENT_SUFFIXES:
        raise ValueError(f"--latents {path}; need a name that ends in {' or '.join(_LATENT_SUFFIXES)}")
    images.check_target(path, suffix=path.suffix)


def write_latents(path: Path, latents: Tensor) -> None:
    if path.suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file({_KEY: latents.contiguous()}, path)
    else:
        np.save(path, latents.numpy())


def _parsed(path: Path, parse: Callable[[Path], _T]) -> _T:
    try:
        return parse(path)
    except Exception as error:  # on a broken file each library raises what it likes
        raise ValueError(f"{path}: cannot be read ({error or type(error).__name__})") from error


def _array(path: Path) -> np.ndarray:
    with open(path, "rb") as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _grey(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("L"))


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
