"""A network with its GENIE head as one model: what it predicts, and k1, k2, k3."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .. import models, predictions
from ..models import WrappedModel
from .extended import ExtendedModel
from .head import GenieHead, load_head

__all__ = ["HeadedModel", "embedded", "with_head"]


@dataclass(frozen=True)
class HeadedModel(ExtendedModel):
    """Made by :func:`with_head`; plans with derivative="head", or "correction", run it."""

    head: GenieHead

    @property
    def further(self) -> tuple[str, ...]:
        return self.head.config.outputs

    def label(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        """[rows] -> [rows, 4]: the network's label, p and q of epsilon = p x + q output, and gamma."""
        to_epsilon = predictions.to_epsilon(self.model.outputs[0], self.schedule, times)
        return np.stack([self.model.label(times), *to_epsilon, self.schedule.gamma(times)], axis=-1)

    def __call__(self, x: Tensor, t: Tensor, **cond: object) -> tuple[Tensor, ...]:
        """x [B, C, H, W], t [B, 4] -> the network's prediction and the head's maps, of its dtype; each of x's shape."""
        label, p, q, gamma = t.unbind(1)
        if self.count == 1:
            return (self.model(x, label, **cond),)
        with self.head.config.captured(self.model.network) as features:
            output = self.model(x, label, **cond)
        epsilon = _column(p, x) * x + _column(q, x) * output  # float32 where x is less: p and q may be large
        inputs = (x, epsilon, features.last, features.embedding, gamma)
        maps = self.head(*(v.to(self.head.conv_in.weight.dtype) for v in inputs))
        return (output, *maps.chunk(3, dim=1))[: self.count]


def with_head(model: WrappedModel, head: GenieHead | Path | str) -> HeadedModel:
    """The model with its head: an instance, or the folder of one (``genie_head`` beside the network's files).

    Use it with a plan of derivative="head", or "correction" where ``head.config.predicts`` says so. Raises ValueError
    where folder or layers are missing or sizes disagree.
    """
    if not isinstance(model, WrappedModel) or not isinstance(model.network, nn.Module):
        raise TypeError(f"model: {type(model).__name__}; give models.wrap(network, ...) of a torch.nn.Module")
    loaded = head if isinstance(head, GenieHead) else load_head(head)
    loaded.config.check_fits(model.network)
    return HeadedModel(model, 1 + len(loaded.config.outputs), loaded.to(model.device or "cpu"))


def embedded(
    device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32, *, network: WrappedModel | None = None
) -> HeadedModel:
    """The network of :func:`genie_samplers.models.embedded`, ``network`` if it is loaded already, with its own head."""
    with as_file(files("genie_samplers") / "assets") as folder:
        return with_head(network or models.embedded(device, dtype), folder)


def _column(values: Tensor, like: Tensor) -> Tensor:
    return values.reshape(-1, *(1,) * (like.ndim - 1))
