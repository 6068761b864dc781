"""The rows of a plan for a loop that owns the state: it hands its tensor in, and is given a new one."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from genie_ext import times_written

from .program import Program
from .state import PlanState

__all__ = ["Stepper"]


class Stepper:
    """A :class:`PlanState` behind a function from state to state, as the loops of other libraries have it.

    What a step returns belongs to the caller, who may keep it, write into it or hand in something else: only then is
    it read again. Handed back as it was, the state goes on in the program's dtype, whatever the caller's is.
    """

    def __init__(self, program: Program, x: Tensor) -> None:
        """x: the state at the plan's first time, [b, ...]; copied."""
        self._state = PlanState(program, x.to(program.dtype), in_place=not _tracked(x))
        self._lent = x, times_written(x)

    @property
    def row(self) -> int:
        """The next row."""
        return self._state.row

    @property
    def history(self) -> list[Tensor]:
        """Of :attr:`PlanState.history`."""
        return self._state.history

    @property
    def nbytes(self) -> int:
        """Of the memory that its rows write."""
        return self._state.nbytes

    @property
    def program(self) -> Program:
        return self._state.program

    def restart(self, x: Tensor) -> None:
        """From the first row again, with another state of the same shape, in the same memory."""
        self._state.restart(x.to(self.program.dtype))
        self._lent = x, times_written(x)

    def fits(self, program: Program, x: Tensor) -> bool:
        """Whether :meth:`restart` will do for this program and state."""
        state = self._state
        return self.program is program and state.in_place and not _tracked(x) and self.is_like(x)

    def is_like(self, x: Tensor) -> bool:
        """Whether x has the state's shape and is on its device."""
        state = self._state.x
        return (state.shape, state.device) == (x.shape, x.device)

    def __deepcopy__(self, memo: dict[int, Any]) -> Stepper:
        twin: Stepper = object.__new__(type(self))
        twin._state, twin._lent = copy.deepcopy(self._state, memo), self._lent  # the caller's, who hands it to either
        return twin

    def _differentiable(self) -> PlanState:
        """The state out of place from here on, so that autograd follows the rows to come."""
        state, rows = self._state, self.program.plan.rows
        read = {entry for row in rows[state.row :] for entry in row.reads if entry.row < state.row}
        return PlanState(
            self.program, state.x, in_place=False, first_row=state.row,
            aux=state.aux if self.program.layout[state.row].reads_aux else None,
            values={entry: state.value(entry) for entry in read},
        )  # fmt: skip

    def step(self, x: Tensor, outputs: Sequence[Tensor], draws: Sequence[Tensor] = ()) -> Tensor:
        """The state after the next row, [b, ...] in the program's model_dtype; a new tensor.

        x: the state before it; outputs, draws: as of :meth:`PlanState.advance`. Errors as there. Where x or an output
        requires grad, this row and those after it are differentiable, on the reference backend.
        """
        if self._state.in_place and any(map(_tracked, (x, *outputs))):
            self._state = self._differentiable()
        lent, written = self._lent
        if x is not lent or times_written(x) != written:
            self._state.replace(x, within_step=True)
        self._state.advance(outputs, draws)
        if torch.is_inference_mode_enabled():  # a tensor of which does not notice that the caller wrote into it
            with torch.inference_mode(False):
                made = self._state.model_input.clone()
        else:
            made = self._state.model_input.clone()
        self._lent = made, times_written(made)
        return made


def _tracked(x: Tensor) -> bool:
    return x.requires_grad and torch.is_grad_enabled()
