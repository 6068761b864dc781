"""A solver run with the head as it is, and what its own steps lack to come back to the fine trajectory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ... import predictions
from ...models import WrappedModel
from ...plan import Plan
from ..heads.correction import CorrectionHead
from ..heads.step_rows import step_rows
from .lacks import uncorrected
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
    config = head.config
    told = torch.from_numpy(step_rows(plan, config.memory)).to(fine.states[0])
    cond: Mapping[str, Tensor] = {name: value[samples] for name, value in fine.cond.items()}
    x = fine.states[0][samples]
    epsilons: list[Tensor] = []
    found: list[Rolled] = []
    for row, step in enumerate(plan.instructions):
        if step.calls == 0:  # the analytic first step
            epsilons.append(step.converted[0].p * x)
            x = uncorrected(step.x, x, [epsilons[-1]])
            continue
        label = torch.full((len(x),), fine.labels[row], dtype=x.dtype, device=x.device)
        with config.captured(model.network) as features:
            said = model(x, label, **cond)
        p, q = predictions.to_epsilon(model.outputs[0], model.schedule, step.time)
        epsilons.append(float(p) * x + float(q) * said)
        past = [epsilons[earlier.row] for earlier in step.history]
        reached = uncorrected(step.x, x, [epsilons[-1], *past])
        if step.outputs == len(plan.outputs):
            past += [torch.zeros_like(x)] * (config.memory - len(past))
            shown = (x, epsilons[-1], past, features.last, told[row].expand(len(x), -1))
            weight, (_, *mixed) = step.x.y[1], step.converted[1].q
            found.append(Rolled(*shown, (fine.states[row + 1][samples] - reached) / weight, row))
            maps = head(*shown).chunk(len(mixed), dim=1)
            reached = reached + weight * sum(w * c for w, c in zip(mixed, maps, strict=True))
        x = reached
    return found
