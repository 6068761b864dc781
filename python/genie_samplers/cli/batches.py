"""Samples batch by batch, so that no more than one batch is held."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ..models import Model
from ..plan import Plan
from ..run.progress import progress_bar
from ..run.sample import sample
from .network import Chosen

__all__ = ["Batch", "Batches"]


@dataclass(frozen=True)
class Batch:
    """ids: of the samples; samples: [B, ...] on the CPU."""

    ids: range
    samples: Tensor


@dataclass
class Batches:
    """The samples 0..count-1 of a seed, each with the bits that it has in any other number of them.

    number: the class of all; None: all classes in turn. operators: of the plan. seconds: spent in sampling so far.
    """

    model: Model
    plan: Plan
    chosen: Chosen
    count: int
    number: int | None
    seed: int
    size: int
    backend: str | None
    operators: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    def __iter__(self) -> Iterator[Batch]:
        if self.plan.couples_samples and self.size != self.count:
            raise ValueError(
                f"--batch-size {self.size}: this plan takes means over the batch, so all its samples are made in one; "
                f"give --batch-size {self.count}"
            )
        starts = range(0, self.count, self.size)
        several = len(starts) > 1
        with progress_bar(len(starts), show=None if several else False, unit="batch") as bar:
            for first in starts:
                ids = range(first, min(first + self.size, self.count))
                start = time.perf_counter()
                x = sample(
                    self.model, self.plan, shape=self.chosen.shape(len(ids)), seed=self.seed, sample_ids=ids,
                    cond=self.chosen.cond(ids, self.number), batch_size=self.size, backend=self.backend,
                    operators=self.operators,
                    progress=False if several else None,
                ).cpu()  # fmt: skip
                self.seconds += time.perf_counter() - start
                yield Batch(ids, x)
                bar.update()
