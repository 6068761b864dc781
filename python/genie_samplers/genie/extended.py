"""A network's model that returns more than its prediction, as much of it as it is asked for."""

from __future__ import annotations

import copy
from typing import TypeVar

import numpy as np
import torch

from ..models import Model, WrappedModel

__all__ = ["ExtendedModel", "check_label"]

Self = TypeVar("Self", bound="ExtendedModel")


class ExtendedModel(Model):
    """model: of the prediction. further: names of what may come after it. count: how many outputs are returned.

    Errors as of :func:`check_label`.
    """

    outputs: tuple[str, ...]

    def __init__(self, model: WrappedModel, further: tuple[str, ...]) -> None:
        check_label(model)
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


def check_label(model: WrappedModel) -> None:
    """ValueError for a network whose label is several numbers per time: derivatives and heads are of one."""
    label = np.asarray(model.label(np.array([0.5 * model.schedule.t_max])))
    if label.shape != (1,):
        raise ValueError(
            f"model: its label is of shape {label.shape} for one time, as of input_scale= and input='unit_variance'; a "
            "derivative or a head needs one number: wrap the network with a call= that scales x by its label"
        )
