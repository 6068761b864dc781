"""A network in float64 that knows its times exactly, not as float32 labels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from genie_samplers.schedules import Schedule

from ..plans.problems import GOLDEN_MIXTURE, VP

__all__ = ["Network"]

Array = NDArray[np.float64]


class Network:
    """function(schedule, one sample's x [n], t); the label is a place in the list of all times it was asked for."""

    def __init__(
        self, function: Callable[[Schedule, Array, float], Array] = GOLDEN_MIXTURE.epsilon, schedule: Schedule = VP
    ) -> None:
        self.function, self.schedule = function, schedule
        self.times: list[float] = []
        self.batches: list[int] = []

    def label(self, t: ArrayLike) -> Array:
        self.times.extend(np.atleast_1d(t).tolist())
        return np.arange(len(self.times) - np.size(t), len(self.times), dtype=np.float64)

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        self.batches.append(len(x))
        rows = zip(x.double().cpu().numpy(), t.tolist(), strict=True)
        outputs = [self.function(self.schedule, row, self.times[int(i)]) for row, i in rows]
        return torch.from_numpy(np.stack(outputs)).to(x)
