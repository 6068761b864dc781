"""How much of a run is the network's time."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from ..models import Model
from ..plan import Plan

__all__ = ["Stopwatch", "Timed"]


@dataclass
class Stopwatch:
    """seconds: so far."""

    seconds: float = 0.0


class Timed(Model):
    """A model whose calls, derivatives and head included, are timed; its halves and shorter forms share the watch."""

    def __init__(self, model: Model, watch: Stopwatch) -> None:
        self.model, self.watch = model, watch
        self.outputs, self.schedule, self.label = model.outputs, model.schedule, model.label
        self.reads_history, self.network = model.reads_history, model.network
        self.conditional = None if model.conditional is None else Timed(model.conditional, watch)

    def __call__(self, x: Tensor, t: Tensor, **cond: Any) -> Any:
        start = _now(x)
        outputs = self.model(x, t, **cond)
        self.watch.seconds += _now(x) - start
        return outputs

    @property
    def dtype(self) -> torch.dtype | None:
        return self.model.dtype

    @property
    def device(self) -> torch.device | None:
        return self.model.device

    def labels(self, plan: Plan) -> ArrayLike:
        return self.model.labels(plan)

    def first(self, count: int) -> Timed:
        return Timed(self.model.first(count), self.watch)

    def sharing(self, names: Collection[str]) -> Timed:
        return Timed(self.model.sharing(names), self.watch)


def _now(x: Tensor) -> float:
    """After everything that waits on x's device."""
    if x.is_cuda:
        torch.cuda.synchronize(x.device)
    return time.perf_counter()
