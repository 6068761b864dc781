"""The defects of a plan's steps: what they miss of fine trajectories, alone or after steps that a head has led."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ...models import WrappedModel
from ...plan import Combination, Plan, Row
from ...run import Call, PlanState, Program, ask, row_labels, run_rows
from ..heads.correction import CorrectionHead
from ..heads.features import input_scale, step_features
from ..heads.headed import CorrectedModel
from .trajectories import Trajectories, amplification

__all__ = ["LedStep", "StepDefect", "led_steps", "step_defects"]


@dataclass(frozen=True)
class StepDefect:
    """A step on trajectories, and what its defect does to the last state.

    x, end: where it starts and should end. epsilons: its own and the earlier ones that it reads, newest first; all
    [B, ...]. weights: of these in the row, the head's among them. features: as of :func:`step_features`. scale: as of
    :func:`input_scale`. label: the network's own. gain: change that a correction of one makes of the last state.
    """

    x: Tensor
    end: Tensor
    epsilons: Sequence[Tensor]
    weights: Combination
    features: Tensor
    scale: float
    label: float
    gain: float

    def correction(self, sample: int | slice = slice(None)) -> Tensor:
        """What would let the step end on the trajectories, or on that one."""
        reached = self.weights.x * self.x[sample]
        for weight, epsilon in zip((self.weights.y[0], *self.weights.history), self.epsilons, strict=True):
            reached = reached + weight * epsilon[sample]
        return (self.end[sample] - reached) / self.weights.y[1]

    def history(self, sample: int, memory: int) -> list[Tensor]:
        """The earlier epsilons of a trajectory, and zeros up to ``memory`` of them."""
        earlier = [epsilon[sample] for epsilon in self.epsilons[1:]]
        return earlier + [torch.zeros_like(self.x[sample])] * (memory - len(earlier))


def step_defects(plan: Plan, fine: Trajectories, memory: int, deviation: float) -> list[StepDefect]:
    """The steps of ``plan`` that read a correction, on trajectories at its own times.

    deviation: of the data along their widest direction, by which disturbances grow (:func:`amplification`).
    """
    features = torch.from_numpy(step_features(plan, memory)).to(fine.states[0])
    ends = np.array(plan.recipe.grid[1:])  # type: ignore[union-attr]
    grows = amplification(plan.schedule, ends, deviation)
    scales = input_scale(plan.schedule, np.array(plan.times))
    epsilons = [
        epsilon if row.calls else row.converted[0].p * x  # the analytic first step
        for row, x, epsilon in zip(plan.rows, fine.states[:-1], fine.epsilons, strict=True)
    ]
    found = []
    for number, row in enumerate(plan.rows):
        if row.outputs < len(plan.outputs):
            continue
        read = [epsilons[number], *(epsilons[entry.row] for entry in row.history)]
        gain, scale = float(row.x.y[1] * grows[number]), float(scales[number])
        x, end, label = fine.states[number], fine.states[number + 1], fine.labels[number]
        found.append(StepDefect(x, end, read, row.x, features[number], scale, label, gain))
    return found


@dataclass(frozen=True)
class LedStep:
    """A step of a solver that a head leads: the head's arguments, the correction that it should have made."""

    x: Tensor
    epsilon: Tensor
    history: Sequence[Tensor]
    last: Tensor
    features: Tensor
    target: Tensor


def led_steps(
    model: WrappedModel, head: CorrectionHead, plan: Plan, fine: Trajectories, samples: Tensor
) -> list[LedStep]:
    """The steps that read a correction, of the trajectories ``samples`` (indices) of ``fine``, from their beginning.

    Each starts where the corrected steps before it have led, and should end on the fine trajectory all the same: so a
    head learns to mend what is left of the errors of earlier steps, which show in the predictions since.
    """
    corrected, x = CorrectedModel(model, head), fine.states[0][samples]
    cond = {name: value[samples] for name, value in fine.cond.items()}
    labels = row_labels(corrected, plan, len(x), x.device)
    program = Program.of(plan, device=x.device, dtype=x.dtype, model_dtype=model.dtype)
    state, found = PlanState(program, x), []
    made: list[LedStep] = []  # in the row that is running, the correction as the head made it

    def answer(call: Call, state: PlanState) -> tuple[Tensor, ...] | Tensor:
        if call.unread:
            return ask(corrected, call, state, labels[call.row], cond)
        output, inputs = corrected.evaluate(state.model_input, labels[call.row], state.history, **cond)
        maps = head(*inputs)
        unit, epsilon, history, last, features = inputs
        history = [value.clone() for value in history]  # the state's own
        history += [torch.zeros_like(unit)] * (head.config.memory - len(history))
        made.append(LedStep(unit, epsilon, history, last, features, _correction(plan.rows[call.row], maps)))
        return output, *maps.chunk(3, dim=1)

    def after(call: Call, _: object) -> None:
        if made:
            led, missed = made.pop(), fine.states[call.row + 1][samples] - state.x
            found.append(replace(led, target=led.target + missed / plan.rows[call.row].x.y[1]))

    run_rows(state, answer, after)
    return found


def _correction(row: Row, maps: Tensor) -> Tensor:
    """What the row made of the head's maps."""
    _, *weights = row.converted[1].q
    parts = maps.chunk(len(weights), dim=1)
    return torch.stack([w * part for w, part in zip(weights, parts, strict=True)]).sum(0)
