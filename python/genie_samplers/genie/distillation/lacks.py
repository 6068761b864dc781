"""What the steps of a plan lack to end on fine trajectories, and what that matters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...plan import Plan
from ..heads.step_rows import step_rows
from .trajectories import Trajectories, amplification

__all__ = ["Lack", "lacks"]


@dataclass(frozen=True)
class Lack:
    """A step on trajectories: where it starts, the correction that it lacks to end on them, and what that matters.

    x, epsilon, past, target: [B, ...]; past has one entry for each of the head's memory, zeros where the step has none.
    told: the row of :func:`step_rows`. label: the network's own. effect: squared change that a correction of one makes
    of the last state. error: that of the target, summed over elements, on average over trajectories.
    """

    x: Tensor
    epsilon: Tensor
    past: Sequence[Tensor]
    told: Tensor
    label: float
    target: Tensor
    effect: float

    @property
    def error(self) -> float:
        return self.effect * float(self.target.double().square().sum()) / len(self.target)

    def of(self, sample: int) -> tuple[Tensor, ...]:
        """x, epsilon, told, target and past of one trajectory."""
        return (self.x[sample], self.epsilon[sample], self.told, self.target[sample], *(v[sample] for v in self.past))


def lacks(plan: Plan, fine: Trajectories, memory: int, deviation: float) -> list[Lack]:
    """What the steps of ``plan`` that read a correction lack, on trajectories at its own times.

    deviation: of the data along their widest direction, by which disturbances grow (:func:`amplification`).
    """
    told = torch.from_numpy(step_rows(plan, memory)).to(fine.states[0])
    ends = np.array(plan.recipe.grid[1:])  # type: ignore[union-attr]
    grows = amplification(plan.schedule, ends, deviation)
    converted: list[Tensor] = []
    found = []
    for row, step in enumerate(plan.instructions):
        x, conversion = fine.states[row], step.converted[0]
        converted.append(conversion.p * x + (conversion.q[0] * fine.predictions[row] if step.calls else 0.0))
        if step.outputs < len(plan.outputs):
            continue
        past = [converted[earlier.row] for earlier in step.history]
        reached = step.x.x * x + step.x.y[0] * converted[row]
        for weight, value in zip(step.x.history, past, strict=True):
            reached = reached + weight * value
        target = (fine.states[row + 1] - reached) / step.x.y[1]
        past += [torch.zeros_like(x)] * (memory - len(past))
        effect = float(step.x.y[1] * grows[row]) ** 2
        found.append(Lack(x, converted[row], past, told[row], fine.labels[row], target, effect))
    return found
