"""A network's model that returns more than its prediction, as much of it as it is asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import torch

from ..models import WrappedModel
from ..schedules import Schedule

__all__ = ["ExtendedModel"]

Model = TypeVar("Model", bound="ExtendedModel")


@dataclass(frozen=True)
class ExtendedModel(ABC):
    """model: of the prediction. count: how many outputs are returned, the prediction and the first of ``further``."""

    model: WrappedModel
    count: int

    @property
    @abstractmethod
    def further(self) -> tuple[str, ...]:
        """Names of what may come after the prediction."""

    @property
    def outputs(self) -> tuple[str, ...]:
        return (*self.model.outputs, *self.further)[: self.count]

    @property
    def schedule(self) -> Schedule:
        return self.model.schedule

    @property
    def defaults(self) -> Mapping[str, object]:
        return self.model.defaults

    @property
    def dtype(self) -> torch.dtype | None:
        return self.model.dtype

    @property
    def device(self) -> torch.device | None:
        return self.model.device

    def first(self: Model, count: int) -> Model:
        """The same model returning its first ``count`` outputs; one of them is a plain evaluation."""
        return replace(self, count=count)
