"""Fine solutions of a network's flow from noise, and how the flow of such data multiplies a disturbance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from genie_ext import Noise, normal_fill

from ... import grids, predictions
from ...models import WrappedModel
from ...plan import Plan
from ...run import Call, PlanState, Program, row_labels, run_rows
from ...run.inputs import signed_seed
from ...schedules import Schedule
from ...solvers import deis_tab
from .data import Data

__all__ = ["Trajectories", "amplification", "fine_trajectories", "widest"]

_STREAM = 2  # of training noise; plans draw from others
_CONDITIONING = 2  # of the generators that belong to a seed; draws from a pool have another
_IMAGES = 500  # that the widest direction of the data is measured on
_FINE_STEPS = 72
_FEWEST_PARTS = 4


@dataclass(frozen=True)
class Trajectories:
    """At the times of a grid: states (one more than) epsilons, [B, ...] each, and the network's conditioning."""

    states: Sequence[Tensor]
    epsilons: Sequence[Tensor]
    labels: Sequence[float]
    cond: Mapping[str, Tensor]

    def every(self, stride: int) -> Trajectories:
        """At every ``stride``-th time."""
        return replace(
            self, states=self.states[::stride], epsilons=self.epsilons[::stride], labels=self.labels[::stride]
        )


def fine_trajectories(
    model: WrappedModel, plan: Plan, data: Data, count: int, seed: int, *,
    first: int, parts: int | None = None, batch_size: int | None = None,
) -> Trajectories:  # fmt: skip
    """``count`` solutions on the plan's grid by tAB-DEIS-3 with ``parts`` steps in each of its own.

    By default at least four, and as many as make 72 in all. Their noise has the numbers ``first``, ``first + 1``, ..;
    their conditioning is drawn from the data by ``first``. batch_size: of the network, ``count`` by default.
    """
    images, cond = data.draw(np.random.default_rng([seed, _CONDITIONING, first]), count, model.device)
    x = torch.empty_like(images)
    ids = torch.arange(first, first + count) % 2**32
    noise = Noise(torch.tensor([signed_seed(seed)]).to(x.device), ids.to(x.device), _STREAM)
    normal_fill(x, noise=noise)
    x.mul_(plan.init.scale)
    times = np.array(plan.recipe.grid)  # type: ignore[union-attr]
    parts = parts or max(_FEWEST_PARTS, -(-_FINE_STEPS // len(plan.times)))
    fine = deis_tab(model.schedule, grids.subdivided(model.schedule, times, parts), prediction=model.outputs[0])
    solved = []
    for start in range(0, count, batch_size or count):
        chosen = slice(start, start + (batch_size or count))
        solved.append(_solve(model, fine, parts, x[chosen], {name: value[chosen] for name, value in cond.items()}))
    states, predicted = (list(map(torch.cat, zip(*parts_of, strict=True))) for parts_of in zip(*solved, strict=True))
    columns = zip(*predictions.to_epsilon(model.outputs[0], model.schedule, times[:-1]), strict=True)
    epsilons = [float(p) * at + float(q) * out for (p, q), at, out in zip(columns, states[:-1], predicted, strict=True)]
    return Trajectories(states, epsilons, np.asarray(model.label(times[:-1]), dtype=np.float64).tolist(), cond)


def _solve(
    model: WrappedModel, fine: Plan, parts: int, x: Tensor, cond: Mapping[str, Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """States at every ``parts``-th time of the fine plan, and the network's predictions at all but the last of them."""
    labels = row_labels(model, fine, len(x), x.device)
    states: list[Tensor] = []
    predicted: list[Tensor] = []

    def answer(call: Call, state: PlanState) -> Tensor:
        output = model(state.model_input, labels[call.row], **cond)
        if call.row % parts == 0:
            states.append(state.x.clone())
            predicted.append(output)
        return output

    program = Program.of(fine, device=x.device, dtype=x.dtype, model_dtype=model.dtype)
    end = run_rows(PlanState(program, x), answer).x
    return [*states, end], predicted


def widest(images: Tensor) -> float:
    """The largest standard deviation along a direction, of five hundred evenly spaced images among [N, ...]."""
    rows = images[:: -(-len(images) // _IMAGES)].flatten(1)
    centred = rows - rows.mean(0)
    return float(torch.linalg.eigvalsh((centred @ centred.T).double() / len(rows))[-1].sqrt())


def amplification(schedule: Schedule, times: np.ndarray, deviation: float) -> np.ndarray:
    """By how much the flow from each time to the last multiplies a small disturbance of N(0, deviation^2) data.

    The ratio of the states' standard deviations, sqrt(alpha^2 deviation^2 + sigma^2).
    """
    spread = np.hypot(schedule.alpha(times) * deviation, schedule.sigma(times))
    return spread[-1] / spread
