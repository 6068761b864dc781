"""The rows of a plan for a loop that owns the state: it hands its tensor in, and is given a new one."""

from __future__ import annotations

from collections.abc import Sequence

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
        self._state = PlanState(program, x.to(program.dtype))
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
        return self.program is program and state.in_place and (state.x.shape, state.x.device) == (x.shape, x.device)

    def _differentiable(self) -> PlanState:
        """The state out of place from here on, so that autograd follows the rows to come."""
        state, rows = self._state, self.program.plan.rows
        read = {entry for row in rows[state.row :] for entry in row.history if entry.row < state.row}
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
        if self._state.in_place and torch.is_grad_enabled() and any(t.requires_grad for t in (x, *outputs)):
            self._state = self._differentiable()
        lent, written = self._lent
        if x is not lent or times_written(x) != written:
            self._state.replace(x, within_step=True)
        self._state.advance(outputs, draws)
        made = self._state.model_input.clone()
        self._lent = made, times_written(made)
        return made
