"""What a head is to learn: states of a network, its own prediction and features there, and the derivative term.

Two kinds. Pointwise (GENIE, arXiv 2210.05475): gamma d_epsilon/d_gamma at noised data. Step-scale: what a fine
trajectory of the network says the derivative of a plan's step should have been for that step to end on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from genie_ext import Noise, normal_fill

from .. import grids
from .._inputs import signed_seed
from ..engine import RowEvent, sample
from ..models import WrappedModel
from ..plan import Plan
from ..solvers import deis_tab
from .data import Data
from .derivative import differentiate, path_on
from .features import Features
from .head import HeadConfig
from .linearize import linearize

__all__ = ["PointwiseTargets", "Source", "StepTargets", "Targets"]

STREAM_TRAINING = 2

Cond = Mapping[str, Tensor]


@dataclass(frozen=True)
class Targets:
    """One chunk: x, epsilon, target [b, ...]; gamma float64 [b]; weight float64 [b], or None: that of the loss."""

    x: Tensor
    epsilon: Tensor
    features: Features
    target: Tensor  # gamma times the derivative of epsilon, or the correction of that
    gamma: Tensor
    weight: Tensor | None = None

    def maps(self, head: Callable[..., Tensor]) -> Tensor:
        """What the head returns here."""
        return head(self.x, self.epsilon, self.features.last, self.features.embedding, self.gamma.to(self.x))


class Source(Protocol):
    """Chunks of targets, each a function of its number alone."""

    def chunk(self, number: int) -> Iterator[Targets]: ...


@dataclass(frozen=True)
class PointwiseTargets:
    """The derivative at noised data, t uniform between the two times: one joint JVP for each chunk of ``size``."""

    model: WrappedModel
    head: HeadConfig
    data: Data
    size: int
    t_min: float
    t_max: float
    seed: int

    @torch.no_grad()
    def chunk(self, number: int) -> Iterator[Targets]:
        rng = np.random.default_rng([self.seed, number])
        images, cond = self.data.draw(rng, self.size, self.model.device)
        t = self.t_min + (self.t_max - self.t_min) * (np.arange(self.size) + rng.random(self.size)) / self.size
        noise = torch.from_numpy(rng.standard_normal(images.shape, dtype=np.float32)).to(images)
        schedule = self.model.schedule
        x = _column(schedule.alpha(t), images) * images + _column(schedule.sigma(t), images) * noise
        path = path_on(self.model, x, torch.from_numpy(t))

        def network(x: Tensor, label: Tensor) -> Tensor:
            return self.model(x, label, **cond)

        with self.head.captured(self.model.network) as features:
            at = linearize(network, x, path.label)
        found = differentiate(at, path)
        gamma = torch.from_numpy(schedule.gamma(t)).to(x.device)
        yield Targets(x, found.epsilon, features, found.gamma_d_epsilon, gamma)


@dataclass(frozen=True)
class StepTargets:
    """The derivative that would let each step of ``plan`` end on the network's own fine trajectory.

    plan: of one step per evaluation, outputs (prediction, and the head's), derivatives in no history. A chunk is
    ``size`` trajectories from noise, solved with ``parts`` steps of tAB-DEIS-3 for each of the plan's, and all steps of
    the plan that read a derivative, weighted by the squared change that it makes of the state.
    """

    model: WrappedModel
    head: HeadConfig
    data: Data
    plan: Plan
    size: int
    seed: int
    parts: int = 4

    def __post_init__(self) -> None:
        needed = (*self.model.outputs, *self.head.outputs)
        if self.plan.outputs != needed or self.plan.recipe is None:
            kind = "head" if self.head.predicts == "derivative" else self.head.predicts
            raise ValueError(f"plan: reads {self.plan.outputs}; give a genie solver's with derivative={kind!r}")
        if any(past.h > 0 for step in self.plan.instructions for past in step.history):
            raise ValueError("plan: keeps derivatives; give one that reads only the newest, as genie_hermite3")
        if self.plan.recipe.grid[-1] == self.plan.schedule.t_zero:
            raise ValueError("plan: ends at gamma = 0; give one that ends before, its last step needs no derivative")
        if self.plan.rising or self.plan.guidance is not None:
            raise ValueError("plan: encodes or is guided; give the plan that samples, a head learns both of its halves")
        if all(step.outputs < len(self.plan.outputs) for step in self.plan.instructions):
            raise ValueError("plan: no step reads a derivative; give more evaluations or a larger derivative_below")

    @torch.no_grad()
    def chunk(self, number: int) -> Iterator[Targets]:
        rng = np.random.default_rng([self.seed, number])
        images, cond = self.data.draw(rng, self.size, self.model.device)
        states = self._trajectory(number, torch.empty_like(images), cond)
        converted: list[Tensor] = []
        for row, step in enumerate(self.plan.instructions):
            x, known = states[row], states[row + 1]
            conversion = step.converted[0]
            if step.calls == 0:  # the analytic first step
                converted.append(conversion.p * x)
                continue
            path = path_on(self.model, x, step.time)
            with self.head.captured(self.model.network) as features:
                out = self.model(x, path.label, **cond)
            converted.append(conversion.p * x + conversion.q[0] * out)
            if step.outputs < len(self.plan.outputs):
                continue
            reached = step.x.x * x + step.x.y[0] * converted[row]
            for weight, past in zip(step.x.history, step.history, strict=True):
                reached = reached + weight * converted[past.row]
            epsilon = _column(path.p, x) * x + _column(path.q, x) * out
            at = float(self.model.schedule.gamma(step.time))
            gamma = torch.full((self.size,), at, dtype=torch.float64, device=x.device)
            weight = torch.full_like(gamma, step.x.y[1] ** 2)
            yield Targets(x, epsilon, features, (known - reached) / step.x.y[1], gamma, weight)

    def _trajectory(self, number: int, x: Tensor, cond: Cond) -> list[Tensor]:
        """The states at the times of the plan's grid, from noise that belongs to this chunk; fills ``x``."""
        ids = torch.arange(number * self.size, (number + 1) * self.size) % 2**32
        noise = Noise(torch.tensor([signed_seed(self.seed)]).to(x.device), ids.to(x.device), STREAM_TRAINING)
        normal_fill(x, noise=noise)
        times = np.array(self.plan.recipe.grid)  # type: ignore[union-attr]
        schedule, prediction = self.model.schedule, self.model.outputs[0]
        fine = deis_tab(schedule, grids.subdivided(schedule, times, self.parts), prediction=prediction)
        states = [x.mul_(self.plan.init.scale)]

        def record(event: RowEvent) -> None:
            if (event.row + 1) % self.parts == 0:
                states.append(event.x)

        sample(self.model, fine, x_init=x, cond=cond, on_row=record, progress=False)
        return states


def _column(values: np.ndarray | Tensor, like: Tensor) -> Tensor:
    return torch.as_tensor(values).to(like).reshape(-1, *(1,) * (like.ndim - 1))
