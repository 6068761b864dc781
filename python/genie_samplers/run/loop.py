"""The one loop over the rows of a plan, and what a row asks of a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genie_ext import all_times_written

from .._arguments import reals
from ..models.contract import Model
from ..plan import Call, Plan
from .state import PlanState

__all__ = ["Answer", "ask", "checked_labels", "row_labels", "run_rows", "uploaded_labels"]

Answer = Callable[[Call, PlanState], Any]
"""What the network returns for the next row of a state."""


def run_rows(
    state: PlanState,
    answer: Answer,
    after: Callable[[Call, Any], None] | None = None,
    *,
    until: int | None = None,
    draw: Callable[[Call], Sequence[Tensor]] | None = None,
) -> PlanState:
    """Run every row that is left, or those of them before row ``until``; returns ``state``.

    answer: called before each row that asks a network. after: called after every row, with what the network returned.
    draw: called, after ``answer``, before each row that draws, for the draws of a state without noise of its own.
    """
    while (call := state.call) is not None and (until is None or call.row < until):
        outputs = answer(call, state) if call.calls else ()
        draws = draw(call) if draw is not None and state.program.layout[call.row].draws else ()
        state.advance(outputs, draws)
        if after is not None:
            after(call, outputs)
    return state


def ask(model: Model, call: Call, state: PlanState, label: Tensor, cond: Mapping[str, Any]) -> Any:
    """What the model returns for the next row of ``state``, of its outputs only those that are read where it can.

    label: float32 [b] or [b, m]. ValueError where the network wrote into what it was given.
    """
    guided = state.program.plan.guidance is not None
    network = model.conditional if guided and call.calls == 1 and model.conditional is not None else model
    if call.unread and call.outputs:
        network = network.first(call.outputs)
    x = state.model_input
    history = state.history if network.reads_history else []
    given = (x, label, *history)
    before = all_times_written(given)
    outputs = network(x, label, history=history, **cond) if history else network(x, label, **cond)
    if all_times_written(given) != before:
        raise ValueError(
            f"model: wrote into its input x, t or history in row {call.row}; work on a copy (x = x.clone())"
        )
    return outputs


def row_labels(model: Model, plan: Plan, size: int, device: torch.device) -> Sequence[Tensor]:
    """Of each row one label, or one vector of them, as the network takes them: float32 [size] or [size, m].

    ValueError where the model gives another number of them, or one that is not finite.
    """
    return uploaded_labels(checked_labels(model, plan), size, device)


def checked_labels(model: Model, plan: Plan) -> NDArray[np.float32]:
    """What the model is given as t in each row, [rows] or [rows, m]; 0 where it is not asked and has none."""
    labels = reals(model.labels(plan), "model.labels")
    if labels.ndim not in (1, 2) or len(labels) != len(plan.times):
        raise ValueError(
            f"model.labels: gave shape {labels.shape} for {len(plan.times)} rows; need one label per row, [rows] or "
            "[rows, m]"
        )
    with np.errstate(over="ignore"):  # what float32 cannot hold is refused below
        labels = labels.astype(np.float32)
    finite = np.isfinite(labels)
    if not finite.all():
        _check_labels(labels, plan)
        labels = np.where(finite, labels, np.float32(0.0))
    return labels


def uploaded_labels(labels: NDArray[np.float32], size: int, device: torch.device) -> Sequence[Tensor]:
    """Each label once per sample: views of one tensor, [size] or [size, m]."""
    repeated = np.repeat(labels[:, None], size, axis=1)
    with torch.inference_mode(False):  # an inference tensor does not notice that a network wrote into it
        return torch.from_numpy(repeated).to(device).unbind(0)


def _check_labels(labels: np.ndarray, plan: Plan) -> None:
    for number, (row, value) in enumerate(zip(plan.rows, labels, strict=True)):
        if row.calls and not np.isfinite(value).all():
            raise ValueError(
                f"plan: row {number} calls the network at time {row.time}, where its label is {value}; start or end "
                "the grid at the schedule's t_end instead of t_zero"
            )
