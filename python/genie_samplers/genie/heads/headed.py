"""A network with its GENIE head as one model: what it predicts, and the maps of the head."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ... import models, predictions
from ...models import WrappedModel
from ...plan import Plan
from ..beside import beside
from ..extended import ExtendedModel
from .correction import CorrectionHead
from .features import Features
from .files import Head, check_network, load_head
from .head import GenieHead
from .step_rows import step_rows

__all__ = ["CorrectedModel", "HeadedModel", "embedded", "with_head"]


@dataclass(frozen=True)
class HeadedModel(ExtendedModel):
    """Made by :func:`with_head`; plans with derivative="head" run it, or "correction" (:class:`CorrectedModel`)."""

    head: Head

    @property
    def further(self) -> tuple[str, ...]:
        return self.head.config.outputs

    @abstractmethod
    def _maps(self, x: Tensor, epsilon: Tensor, features: Features, told: Tensor, past: Sequence[Tensor]) -> Tensor:
        """What the head returns; told: [B, ...], the columns of the label after those of epsilon."""

    def label(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        """[rows] -> [rows, 4]: the network's label, p and q of epsilon = p x + q output, and gamma."""
        to_epsilon = predictions.to_epsilon(self.model.outputs[0], self.schedule, times)
        return np.stack([self.model.label(times), *to_epsilon, self.schedule.gamma(times)], axis=-1)

    def __call__(self, x: Tensor, t: Tensor, *, past: Sequence[Tensor] = (), **cond: object) -> tuple[Tensor, ...]:
        """x [B, C, H, W], t [B, 4 or more] -> the network's prediction and the head's maps, of its dtype, like x."""
        label, p, q = t[:, :3].unbind(1)
        if self.count == 1:
            return (self.model(x, label, **cond),)
        with self.head.config.captured(self.model.network) as features:
            output = self.model(x, label, **cond)
        epsilon = beside(p, x) * x + beside(q, x) * output  # float32 where x is less: p and q may be large
        maps = self._maps(x, epsilon, features, t[:, 3:], past)
        return (output, *maps.chunk(3, dim=1))[: self.count]


@dataclass(frozen=True)
class PointwiseModel(HeadedModel):
    """With a head of the derivative itself."""

    head: GenieHead

    def _maps(self, x: Tensor, epsilon: Tensor, features: Features, told: Tensor, past: Sequence[Tensor]) -> Tensor:
        inputs = (x, epsilon, features.last, features.embedding, told[:, 0])
        return self.head(*(v.to(self.head.conv_in.weight.dtype) for v in inputs))


@dataclass(frozen=True)
class CorrectedModel(HeadedModel):
    """With a head of corrections: it looks back, at the earlier predictions that the row of the plan reads."""

    head: CorrectionHead
    looks_back: ClassVar[bool] = True

    def rows(self, plan: Plan) -> NDArray[np.float64]:
        """[rows, 5 + memory]: :meth:`label` with log gamma for gamma, and the widths of :func:`step_rows`."""
        labels = self.label(np.asarray(plan.times))
        if self.count == 1:
            return labels
        return np.concatenate([labels[:, :3], step_rows(plan, self.head.config.memory)], axis=1)

    def _maps(self, x: Tensor, epsilon: Tensor, features: Features, told: Tensor, past: Sequence[Tensor]) -> Tensor:
        x, epsilon, last, told, *past = (
            v.to(self.head.conv_in.weight.dtype) for v in (x, epsilon, features.last, told, *past)
        )
        return self.head(x, epsilon, past, last, told)


def with_head(model: WrappedModel, head: Head | Path | str) -> HeadedModel:
    """The model with its head: an instance, or the folder of one (``genie_head`` beside the network's files).

    Use it with a plan of derivative="correction" for a head of corrections, else "head": ``head.config.predicts``.
    Raises ValueError where folder or layers are missing, or sizes, prediction, schedule or labels disagree.
    """
    if not isinstance(model, WrappedModel) or not isinstance(model.network, nn.Module):
        raise TypeError(f"model: {type(model).__name__}; give models.wrap(network, ...) of a torch.nn.Module")
    loaded = head if isinstance(head, Head) else load_head(head)
    if not isinstance(head, Head):
        check_network(head, model)
    loaded.config.check_fits(model.network)
    count, where = 1 + len(loaded.config.outputs), model.device or "cpu"
    if isinstance(loaded, GenieHead):
        return PointwiseModel(model, count, loaded.to(where))
    return CorrectedModel(model, count, loaded.to(where))


def embedded(
    device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32, *, network: WrappedModel | None = None
) -> HeadedModel:
    """The network of :func:`genie_samplers.models.embedded`, ``network`` if it is loaded already, with its own head."""
    with as_file(files("genie_samplers") / "assets") as folder:
        return with_head(network or models.embedded(device, dtype), folder)
