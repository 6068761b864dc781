"""What the steps of a plan lack to end on fine trajectories, and what that matters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...plan import Combination, Plan
from ..heads.step_rows import step_rows
from .trajectories import Trajectories, amplification

__all__ = ["Lack", "lacks"]


@dataclass(frozen=True)
class Lack:
    """A step on trajectories, and what that it does not end on them matters.

    x, end: where it starts and should end. epsilons: its own and the earlier ones that it reads, newest first; all
    [B, ...]. row: the weights of these in the step, the head's among them. told: as of :func:`step_rows`. label: the
    network's own. gain: change that a correction of one makes of the last state.
    """

    x: Tensor
    end: Tensor
    epsilons: Sequence[Tensor]
    row: Combination
    told: Tensor
    label: float
    gain: float

    def correction(self, sample: int | slice = slice(None)) -> Tensor:
        """What would let the step end on the trajectories, or on that one."""
        reached = self.row.x * self.x[sample]
        for weight, epsilon in zip((self.row.y[0], *self.row.history), self.epsilons, strict=True):
            reached = reached + weight * epsilon[sample]
        return (self.end[sample] - reached) / self.row.y[1]

    def past(self, sample: int, memory: int) -> list[Tensor]:
        """The earlier epsilons of a trajectory, and zeros up to ``memory`` of them."""
        known = [epsilon[sample] for epsilon in self.epsilons[1:]]
        return known + [torch.zeros_like(self.x[sample])] * (memory - len(known))


def lacks(plan: Plan, fine: Trajectories, memory: int, deviation: float) -> list[Lack]:
    """The steps of ``plan`` that read a correction, on trajectories at its own times.

    deviation: of the data along their widest direction, by which disturbances grow (:func:`amplification`).
    """
    told = torch.from_numpy(step_rows(plan, memory)).to(fine.states[0])
    ends = np.array(plan.recipe.grid[1:])  # type: ignore[union-attr]
    grows = amplification(plan.schedule, ends, deviation)
    epsilons = [
        epsilon if step.calls else step.converted[0].p * x  # the analytic first step
        for step, x, epsilon in zip(plan.instructions, fine.states[:-1], fine.epsilons, strict=True)
    ]
    found = []
    for row, step in enumerate(plan.instructions):
        if step.outputs < len(plan.outputs):
            continue
        read = [epsilons[row], *(epsilons[earlier.row] for earlier in step.history)]
        gain = float(step.x.y[1] * grows[row])
        found.append(Lack(fine.states[row], fine.states[row + 1], read, step.x, told[row], fine.labels[row], gain))
    return found
