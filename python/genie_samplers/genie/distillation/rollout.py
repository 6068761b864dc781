"""A solver run with the head as it is, and what its own steps lack to come back to the fine trajectory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...engine import sample
from ...models import WrappedModel
from ...plan import Plan, Step
from ..heads.correction import CorrectionHead
from ..heads.headed import with_head
from .trajectories import Trajectories

__all__ = ["Rolled", "roll_out"]


@dataclass(frozen=True)
class Rolled:
    """A step of the solver: arguments of the head, what it should have said, and the number of the plan's row."""

    x: Tensor
    epsilon: Tensor
    past: Sequence[Tensor]
    last: Tensor
    told: Tensor
    target: Tensor
    row: int


def roll_out(
    model: WrappedModel, head: CorrectionHead, plan: Plan, fine: Trajectories, samples: Tensor
) -> list[Rolled]:
    """The steps that read a correction, of the trajectories ``samples`` (indices) of ``fine``, from their beginning.

    Each starts where the corrected steps before it have led, and should end on the fine trajectory all the same: so a
    head learns to mend what is left of the errors of earlier steps, which show in the predictions since.
    """
    seen: list[tuple[Tensor, Tensor, list[Tensor], Tensor, Tensor, Tensor]] = []
    ends: list[Tensor] = []

    def keep(_: nn.Module, given: tuple[Any, ...], maps: Tensor) -> None:
        x, epsilon, past, last, told = given
        memory = [value.clone() for value in past]  # the engine's own, as x is
        memory += [torch.zeros_like(x)] * (head.config.memory - len(memory))
        seen.append((x.clone(), epsilon, memory, last, told, maps))

    hook = head.register_forward_hook(keep)
    try:
        sample(
            with_head(model, head), plan, x_init=fine.states[0][samples] / plan.init.scale, progress=False,
            cond={name: value[samples] for name, value in fine.cond.items()},
            on_row=lambda event: ends.append(event.x),
        )  # fmt: skip
    finally:
        hook.remove()
    reading = [row for row, step in enumerate(plan.instructions) if step.outputs == len(plan.outputs)]
    found = []
    for row, (x, epsilon, past, last, told, maps) in zip(reading, seen, strict=True):
        step = plan.instructions[row]
        missed = (fine.states[row + 1][samples] - ends[row]) / step.x.y[1]
        found.append(Rolled(x, epsilon, past, last, told, _said(step, maps) + missed, row))
    return found


def _said(step: Step, maps: Tensor) -> Tensor:
    """The correction that the step made of the head's maps."""
    _, *weights = step.converted[1].q
    parts = maps.chunk(len(weights), dim=1)
    return torch.stack([w * part for w, part in zip(weights, parts, strict=True)]).sum(0)
