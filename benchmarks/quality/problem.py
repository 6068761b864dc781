"""What is solved: the probability-flow ODE of one network from numbered latents, class = number modulo ten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import genie_samplers as gs
from genie_samplers import demo, genie, grids
from genie_samplers.demo.data import CLASS_NAMES
from genie_samplers.plan import Plan
from genie_samplers.schedules import Schedule
from genie_samplers.solvers import deis_tab

from .store import digest

__all__ = ["Problem", "classes", "embedded_problem"]

_BATCH = 40  # the fastest on one thread, and a divisor of the files' sizes


@dataclass(frozen=True)
class Problem:
    """model: a network with ``class_labels``. parts: its modules. shape: of one sample. seed: of the latents."""

    model: Any
    parts: tuple[nn.Module, ...]
    shape: tuple[int, ...] = (1, 28, 28)
    seed: int = 0

    @property
    def schedule(self) -> Schedule:
        return self.model.schedule

    def solve(self, plan: Plan, ids: Sequence[int]) -> NDArray[np.float32]:
        """The plan's final states [len(ids), *shape] from the latents of these numbers."""
        return gs.sample(
            self.model, plan, shape=(len(ids), *self.shape), seed=self.seed, sample_ids=ids,
            cond={"class_labels": classes(ids)}, batch_size=min(_BATCH, len(ids)), progress=False,
        ).numpy()  # fmt: skip

    def latents(self, ids: Sequence[int]) -> torch.Tensor:
        """The states [len(ids), *shape] at t_max that every plan starts from: what a network sees first."""
        seen: list[torch.Tensor] = []

        def onlooker(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            seen.append(x.clone())
            return torch.zeros_like(x)

        plan = gs.make_plan("ddim", self.schedule, 1)
        gs.sample(onlooker, plan, shape=(len(ids), *self.shape), seed=self.seed, sample_ids=ids, progress=False)
        return seen[0]

    def fine_plan(self, steps: int, *, end: float | None = None) -> Plan:
        """deis_tab3 on the Karras grid to ``end`` (the schedule's t_end); t_zero is one step after t_end."""
        to_zero = end == self.schedule.t_zero
        times = grids.power_gamma(self.schedule, steps, t_end=None if to_zero else end)
        return deis_tab(self.schedule, grids.with_zero(self.schedule, times) if to_zero else times, order=3)

    def key(self, plan: Plan) -> str:
        """Names the states of ``plan``: what it does, however it is called, the network's weights and the seed."""
        work = replace(plan, recipe=None).to_json()
        return digest(work.encode(), self.identity.encode())

    @cached_property
    def identity(self) -> str:
        """Changes with the weights, the seed and the shape."""
        values = [value for part in self.parts for value in part.state_dict().values()]
        return digest(*(value.numpy().tobytes() for value in values), str((self.seed, self.shape)).encode())


def classes(ids: Sequence[int]) -> torch.Tensor:
    return torch.tensor(ids) % len(CLASS_NAMES)


def embedded_problem(seed: int = 0, derivative: str | None = None) -> Problem:
    """derivative: of what the model returns besides epsilon, None, "exact" or "correction"."""
    model = gs.demo.embedded()
    network: Any = model.network
    network.to(memory_format=torch.channels_last)  # a tenth faster on one thread
    if derivative == "exact":
        return Problem(genie.exact(model), (network,), seed=seed)
    if derivative == "correction":
        headed = demo.embedded_with_head(network=model)
        return Problem(headed, (network, headed.head), seed=seed)
    return Problem(model, (network,), seed=seed)
