"""A network's model that returns more than its prediction, as much of it as it is asked for."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch

from ..models import Model, WrappedModel

__all__ = ["ExtendedModel"]

Self = TypeVar("Self", bound="ExtendedModel")


class ExtendedModel(Model):
    """model: of the prediction. further: names of what may come after it. count: how many outputs are returned."""

    outputs: tuple[str, ...]

    def __init__(self, model: WrappedModel, further: tuple[str, ...]) -> None:
        self.model, self.schedule, self.network = model, model.schedule, model.network
        self.outputs = (*model.outputs, *further)  # type: ignore[assignment]

    @property
    def count(self) -> int:
        return len(self.outputs)

    @property
    def dtype(self) -> torch.dtype | None:
        return self.model.dtype

    @property
    def device(self) -> torch.device | None:
        return self.model.device

    def first(self: Self, count: int) -> Self:
        """The same model returning its first ``count`` outputs; one of them is a plain evaluation."""
        fewer = copy.copy(self)
        fewer.outputs = self.outputs[:count]
        return fewer
