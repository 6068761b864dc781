"""A denoiser to sample with, and k-diffusion's own functions where they are installed."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import torch
from torch import Tensor

__all__ = ["KARRAS", "SHAPE", "denoiser", "k_diffusion_sampling", "noise_of_steps", "start"]

SHAPE = (3, 2, 4)
KARRAS = [14.6146, 8.1, 3.9, 1.9, 0.81, 0.29, 0.0292]
"""Levels of a Stable Diffusion run, without the last 0."""

_UNUSED = ("torchvision", "torchdiffeq", "torchsde")
"""What k-diffusion imports for things that its fixed-step samplers have no part in."""


def denoiser(x: Tensor, sigma: Tensor, gain: float = 1.0) -> Tensor:
    """Nonlinear in state and level, coupled within a sample, as smooth as a trained one."""
    s = sigma.reshape(-1, *(1,) * (x.ndim - 1))
    return gain * torch.tanh(x / (1.0 + s)) + 0.1 * torch.sin(x.flip(-1) / (1.0 + s * s))


def start(level: float = KARRAS[0], dtype: torch.dtype = torch.float64) -> Tensor:
    return (level * torch.randn(SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)).to(dtype)


def noise_of_steps(seed: int = 1) -> Any:
    """A noise sampler that gives one stream of normals, in order, whoever asks."""
    generator = torch.Generator().manual_seed(seed)
    return lambda sigma, sigma_next: torch.randn(SHAPE, generator=generator, dtype=torch.float64)


def k_diffusion_sampling() -> ModuleType | None:
    """The real ``k_diffusion.sampling``; None where the package is not installed."""
    found = importlib.util.find_spec("k_diffusion")
    if found is None or not found.submodule_search_locations:
        return None
    with _stand_ins():
        return _loaded(Path(found.submodule_search_locations[0]))


def _loaded(folder: Path) -> ModuleType:
    """The module with ``utils`` beside it; not the package, whose start imports all that training needs."""
    sys.modules["k_diffusion"] = package = ModuleType("k_diffusion")
    package.__path__ = [str(folder)]
    return importlib.import_module("k_diffusion.sampling")


@contextmanager
def _stand_ins() -> Iterator[None]:
    missing = [name for name in _UNUSED if importlib.util.find_spec(name) is None]
    before = set(sys.modules)
    sys.modules |= {name: MagicMock() for name in missing}
    if "torchvision" in missing:
        sys.modules["torchvision.transforms"] = MagicMock()
    try:
        yield
    finally:
        for name in set(sys.modules) - before:
            if name.split(".")[0] in ("k_diffusion", *missing):
                del sys.modules[name]
