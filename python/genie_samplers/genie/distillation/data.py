"""The data that a head is distilled on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..heads.features import expand_like

__all__ = ["Data"]


@dataclass(frozen=True)
class Data:
    """images: float [N, ...] in the network's range; cond: the conditioning of each, tensors [N, ...]. All on the CPU.

    null, dropout: with this probability a sample's conditioning is ``null`` in place of its ``cond``. mirror: whether
    every drawn image is mirrored, its last axis reversed, with probability 1/2, as the embedded network's were in its
    training; switch it off where the mirror image is no such image, of text for example. ValueError or TypeError for
    images that are none, no floats or not finite, and for ``cond`` of another length.
    """

    images: Tensor
    cond: Mapping[str, Tensor]
    null: Mapping[str, float]
    dropout: float = 0.1
    mirror: bool = True

    def __post_init__(self) -> None:
        shape = tuple(self.images.shape)
        if not self.images.is_floating_point():
            raise TypeError(f"images: {self.images.dtype}; give floats in the range that the network was trained with")
        if len(shape) < 2 or 0 in shape:
            raise ValueError(f"images: shape {shape}; give [N, ...] with at least one image")
        if not bool(self.images.isfinite().all()):
            raise ValueError("images: hold inf or NaN; leave those images out")
        for name, value in self.cond.items():
            if len(value) != len(self.images):
                raise ValueError(f"cond[{name!r}]: shape {tuple(value.shape)}; give one entry for each of {shape[0]}")
        if unknown := sorted(self.null.keys() - self.cond.keys()):
            raise ValueError(f"null[{unknown[0]!r}]: replaces nothing; cond has {sorted(self.cond)}")

    def draw(
        self, rng: np.random.Generator, count: int, device: torch.device | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """``count`` images and their conditioning. The same ones are drawn with ``mirror`` and without."""
        index = torch.from_numpy(rng.integers(0, len(self.images), count))
        mirrored = torch.from_numpy(rng.random(count) < 0.5)
        dropped = torch.from_numpy(rng.random(count) < self.dropout)
        images = self.images[index]
        if self.mirror:
            images = torch.where(expand_like(mirrored, images), images.flip(-1), images)
        cond = {name: value[index] for name, value in self.cond.items()}
        for name, null in self.null.items():
            cond[name] = torch.where(expand_like(dropped, cond[name]), torch.full_like(cond[name], null), cond[name])
        return images.to(device), {name: value.to(device) for name, value in cond.items()}
