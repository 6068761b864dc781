"""The rows of a plan for a loop that owns the state: it hands its tensor in, and is given a new one."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from genie_ext import times_written, wants_gradients

from ..plan import Plan
from .moving import MovingState
from .program import Program
from .state import PlanState

__all__ = ["Stepper"]

# looked up once: a step takes little longer than ten such look-ups
_is_grad_enabled, _is_inference = torch.is_grad_enabled, torch.is_inference_mode_enabled


class Stepper:
    """A :class:`PlanState` behind a function from state to state, as the loops of other libraries have it.

    What a step returns belongs to the caller, who may keep it, write into it or hand in something else. Where the
    caller's dtype is not the program's, the state goes on in the program's as long as the caller hands back what it was
    given, as it was; else the caller's tensor is the state, and nothing is copied.
    """

    def __init__(self, program: Program, x: Tensor) -> None:
        """x: the state at the plan's first time, [b, ...]; copied."""
        kind = MovingState if program.plan.is_table else PlanState
        self._state = kind(program, x.to(program.dtype), in_place=not wants_gradients(x))
        self._lend(x)
        self._shape, self._device = x.shape, x.device
        self._apart: frozenset[int] | None = None  # the rows to seek, once it is asked

    @property
    def row(self) -> int:
        """The next row."""
        return self._state.row

    @property
    def draws(self) -> int:
        """How many tensors of noise the next row takes."""
        state = self._state
        rows = state.program.layout
        return len(rows[state.row].draws) if state.row < len(rows) else 0

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
        self._lend(x)

    def seek(self, row: int) -> None:
        """Go on from this row. ValueError where it, or a later one, reads what rows before it left."""
        if self._apart is None:
            self._apart = _rows_apart(self.program.plan)
        if row not in self._apart:
            raise ValueError(
                f"row={row}: of {len(self.program.layout)} rows; choose one from which on none reads what rows before "
                f"it left: {', '.join(map(str, sorted(self._apart)))}"
            )
        self._state.row = row

    def fits(self, program: Program, x: Tensor) -> bool:
        """Whether :meth:`restart` will do for this program and state."""
        return self.program is program and self._state.in_place and not wants_gradients(x) and self.is_like(x)

    def is_like(self, x: Tensor) -> bool:
        """Whether x has the state's shape and is on its device."""
        return self._shape == x.shape and self._device == x.device

    def __deepcopy__(self, memo: dict[int, Any]) -> Stepper:
        twin: Stepper = object.__new__(type(self))
        vars(twin).update(vars(self))  # what was lent is the caller's, who hands it to either
        twin._state = copy.deepcopy(self._state, memo)
        return twin

    def step(self, x: Tensor, outputs: Sequence[Tensor], draws: Sequence[Tensor] = ()) -> Tensor:
        """The state after the next row, [b, ...] in the program's model_dtype; a new tensor.

        x: the state before it; outputs, draws: as of :meth:`PlanState.advance`. Errors as there. Where x or an output
        requires grad or carries a tangent, this row and those after it are differentiable, on the reference backend.
        """
        state = self._state
        if state.in_place and wants_gradients(x, *outputs):
            state = self._state = self._differentiable(x)
        if not isinstance(state, MovingState) or not state.in_place:
            return self._out_of_place(state, x, outputs, draws)
        if state.x_in is None:
            return state.move(x, outputs, draws)
        if not self._is_lent(x):
            state.replace(x, within_step=True)
        if _is_inference():  # a tensor of which does not notice that the caller wrote into it
            with torch.inference_mode(False):
                made = state.move(None, outputs, draws)
        else:
            made = state.move(None, outputs, draws)
        self._lend(made)
        return made

    def follow(self, x: Tensor, output: Tensor) -> Tensor | None:
        """:meth:`step` from what the last one returned, with one output, where nothing is out of the ordinary; None,
        with nothing done, where something is.
        """
        state = self._state
        if type(output) is not Tensor or not isinstance(state, MovingState):
            return None
        if _is_grad_enabled() and (x.requires_grad or output.requires_grad):
            return None
        return state.follow(x, output)

    def _lend(self, x: Tensor) -> None:
        """Remember the caller's tensor as it is now; one that does not count what is written is looked at anew."""
        self._lent = x, -1 if x.is_inference() else times_written(x), x.data_ptr()

    def _is_lent(self, x: Tensor) -> bool:
        """Whether the caller hands back what it was given, as it was."""
        lent, written, address = self._lent
        return x is lent and times_written(x) == written and x.data_ptr() == address  # which x.data = y changes

    def _out_of_place(self, state: PlanState, x: Tensor, outputs: Sequence[Tensor], draws: Sequence[Tensor]) -> Tensor:
        if not self._is_lent(x):
            state.replace(x, within_step=True)
        state.advance(outputs, draws)
        made = state.model_input.clone()
        self._lend(made)
        return made

    def _differentiable(self, x: Tensor) -> PlanState:
        """The state out of place from here on, so that autograd follows the rows to come."""
        state, rows = self._state, self.program.plan.rows
        read = {entry for row in rows[state.row :] for entry in row.reads if entry.row < state.row}
        now = state.x if state.x_in is not None and self._is_lent(x) else x.to(self.program.dtype)
        self._lend(x)
        return PlanState(
            self.program, now, in_place=False, first_row=state.row,
            aux=state.aux if self.program.layout[state.row].reads_aux else None,
            values={entry: state.value(entry) for entry in read},
        )  # fmt: skip


def _rows_apart(plan: Plan) -> frozenset[int]:
    """Those from which on no row, operator or gain reads a value or a second state of a row before."""
    apart: set[int] = set()
    oldest, reads_aux = len(plan.rows), False  # of the rows from here on
    for number in reversed(range(len(plan.rows))):
        row = plan.rows[number]
        oldest = min((oldest, *(entry.row for entry in row.reads)))
        of_aux = row.reads_aux or any(source.of == "aux" for source in row.sources)
        reads_aux = of_aux or (reads_aux and row.aux is None)
        if oldest >= number and not reads_aux:
            apart.add(number)
    return frozenset(apart)
