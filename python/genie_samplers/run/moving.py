"""A state that lies in the caller's memory: each row reads the tensor that it is handed, and makes a new one."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from genie_ext import PreparedRows, times_written

from ..models.outputs import FLOATS
from .beginning import check_like
from .program import Program
from .state import PlanState

__all__ = ["MovingState"]

_FLOATS = frozenset(FLOATS)
_ALIGNED = 7  # the bits that an address of every dtype lacks


class MovingState(PlanState):
    """A :class:`PlanState` in place, of which :meth:`move` runs the rows; second state and history are its own."""

    def __init__(self, program: Program, x: Tensor, *, in_place: bool = True) -> None:
        super().__init__(program, x, in_place=in_place)
        self._shape, self._device = x.shape, x.device
        # the rows of one output and no draws, which follow may run
        self._plain = tuple(self.x_in is None and row.outputs == 1 and not row.draws for row in program.layout)

    def move(self, x: Tensor | None, outputs: Sequence[Tensor], draws: Sequence[Tensor] = ()) -> Tensor:
        """The state after the next row, a new tensor [b, ...] of the program's model_dtype.

        x: the state before it, of any float dtype; None where the network's input is another tensor than the state
        (``x_in``): then this state goes on from its own, and its network's input is returned. outputs, draws, errors:
        as of :meth:`PlanState.advance`.
        """
        row, left, layout = self.row, self._as_left, self.program.layout
        if (
            row >= len(layout)
            or len(outputs) != layout[row].outputs
            or not (self._is_plain(outputs[0]) if len(outputs) == 1 else all(map(self._is_plain, outputs)))
        ):
            outputs = self.read(outputs)
        if draws or layout[row].draws:
            draws = self._checked_draws(layout[row], draws)
        if x is not None and not (self._is_plain(x) and x.dtype == self.program.dtype):
            check_like("x", x, self.x)
            x = self.x.copy_(x)
        if left is None:
            self._refuse_touched()
        rows = self._rows
        if rows is None:
            rows = self._rows = self._prepare()
        self._as_left = None  # an interrupt, which is no Exception, may leave a row half done
        try:
            made = rows.move(row, x, outputs, draws)
        except Exception:
            self._as_left = left
            raise
        self.row = row + 1
        self._as_left = left if x is not None else (self.x, times_written(self.x))
        return made

    def follow(self, x: Tensor, output: Tensor) -> Tensor | None:
        """:meth:`move` from what the last row made, where everything is plain, which is looked at in one native call;
        None, with nothing done, where anything is not. x does not require grad, nor does output.
        """
        rows, left, row = self._rows, self._as_left, self.row
        if rows is None or left is None or row >= len(self._plain) or not self._plain[row]:
            return None
        self._as_left = None  # as of move
        try:
            made = rows.follow(row, x, output)
        except Exception:
            self._as_left = left
            raise
        self._as_left = left
        if made is not None:
            self.row = row + 1
        return made

    def restart(self, x: Tensor) -> None:  # type: ignore[override]
        """From the first row again, in the same memory. x: as of the constructor."""
        if self.x_in is None and x.shape == self._shape and self._as_left is not None:
            self.row = self._first_row  # the first row is handed its state
        else:
            super().restart(x)

    def _is_plain(self, tensor: Tensor) -> bool:
        """Whether nothing has to be looked at, copied or refused."""
        return (
            type(tensor) is Tensor
            and tensor.dtype in _FLOATS
            and tensor.shape == self._shape
            and tensor.device == self._device
            and tensor.is_contiguous()
            and not tensor.is_neg()
            and not tensor.data_ptr() & _ALIGNED
        )

    def _prepare(self) -> PreparedRows:
        flags, self.nonfinite = self.nonfinite, None  # nobody asks
        try:
            return super()._prepare()
        finally:
            self.nonfinite = flags
