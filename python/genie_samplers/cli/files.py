"""Images and latents that commands read and write."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .. import images
from .options import IMAGE_SHAPE

__all__ = ["check_latents_target", "read_images", "read_latents", "write_latents"]

_LATENT_SUFFIXES = (".npy", ".safetensors")
_KEY = "latents"


def read_images(paths: Sequence[Path]) -> Tensor:
    """PNG files and .npy arrays as float32 [B, 1, 28, 28] in [-1, 1]; whole numbers are grey levels 0..255."""
    return torch.cat([_as_batch(_read_array(path), path) for path in paths])


def read_latents(path: Path) -> Tensor:
    """[B, 1, 28, 28] from a .npy or .safetensors file that ``encode`` wrote."""
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        tensors = load_file(path)
        if _KEY not in tensors:
            raise ValueError(f"{path}: holds {sorted(tensors)}, not {_KEY!r}; write one with `genie-samplers encode`")
        latents = tensors[_KEY]
    else:
        latents = torch.from_numpy(np.load(path, allow_pickle=False))
    if latents.shape[1:] != IMAGE_SHAPE or not latents.is_floating_point():
        fix = f"need floats [B, {', '.join(map(str, IMAGE_SHAPE))}]"
        raise ValueError(f"{path}: {latents.dtype} {tuple(latents.shape)}; {fix}")
    return latents


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


def _read_array(path: Path) -> np.ndarray:
    if path.suffix == ".npy":
        return np.load(path, allow_pickle=False)
    with Image.open(path) as image:
        return np.asarray(image.convert("L"))


def _as_batch(array: np.ndarray, path: Path) -> Tensor:
    size = IMAGE_SHAPE[1:]
    if array.shape[-2:] != size or array.dtype.kind not in "uf":
        raise ValueError(f"{path}: {array.dtype} {array.shape}; need grey images of {size[0]} x {size[1]} pixels")
    scaled = array / 127.5 - 1.0 if array.dtype.kind == "u" else array
    return torch.from_numpy(scaled.astype(np.float32)).reshape(-1, *IMAGE_SHAPE)
