"""The rows of a table over the same tensors: checked once, then run by number.

A sampler runs tens of rows over one state; what they share is looked at once for all of them. A row of the layout,
int32 [rows, 26], holds

    outputs, converted, draws          counts
    reads_aux, writes_aux              0 or 1
    history                            count, then 16 slots, newest first
    stored                             2 slots, one per converted output
    draw numbers                       2

with -1 in places that are not used. A slot is a number of ``slots``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..._checks import check_integer, check_sequence, check_tensor
from ..noise import Noise, check_noise_types
from ..prepared import Prepared
from ..slots import SLOT
from .columns import row_columns
from .contract import MAX_CONVERTED, MAX_DRAWS, MAX_HISTORY, FusedStepCall

__all__ = ["LAYOUT_COLUMNS", "GeneralRows", "PreparedRows", "StepRows", "check_rows"]

_HISTORY = 5
_STORED = _HISTORY + 1 + MAX_HISTORY
_DRAWS = _STORED + MAX_CONVERTED
LAYOUT_COLUMNS = _DRAWS + MAX_DRAWS


@dataclass(frozen=True)
class StepRows:
    """What :func:`genie_ext.prepare_rows` is given; each row is a :class:`FusedStepCall` in place.

    layout: int32 [rows, 26]. table: [rows, n], or per sample [rows, B, n], in the compute dtype; of n a row reads as
    many columns as its layout has. x: the state, read and written. aux: the second one. x_in: the network's input.
    slots: the memory of converted outputs. noise: where draws come from; None: they are given to each run. nonfinite:
    int32 [rows, B].
    """

    layout: NDArray[np.int32]
    table: Tensor
    x: Tensor
    aux: Tensor | None = None
    x_in: Tensor | None = None
    slots: Sequence[Tensor] = ()
    noise: Noise | None = None
    nonfinite: Tensor | None = None

    def call(self, number: int) -> FusedStepCall:
        """The row's call; its outputs, and draws that are given, are slots."""
        if not 0 <= check_integer("number", number) < len(self.layout):
            raise ValueError(f"number: {number}; there are {len(self.layout)} rows, so it is 0..{len(self.layout) - 1}")
        outputs, converted, draws, reads_aux, writes_aux, *rest = self.layout[number].tolist()
        history, stored = rest[1 : 1 + rest[0]], rest[_STORED - _HISTORY :][:converted]
        numbers = rest[_DRAWS - _HISTORY :][:draws]
        if (reads_aux or writes_aux) and self.aux is None:
            raise ValueError(f"layout: row {number} has a second state; pass aux")
        if min(*history, 0, 0) < 0:
            raise ValueError(f"layout: row {number} reads the slots {history}; give numbers from 0 on")
        if max(*history, *stored, -1, -1) >= len(self.slots):
            raise ValueError(f"layout: row {number} names a slot beyond the {len(self.slots)} given; pass more slots")
        columns = row_columns(
            outputs=outputs, converted=converted, history=len(history), draws=draws, aux=bool(reads_aux),
            aux_out=bool(writes_aux),
        )  # fmt: skip
        return FusedStepCall(
            x=self.x, outputs=(SLOT,) * outputs, history=[self.slots[s] for s in history],
            row=self.table[number][..., :columns], converted=converted,
            aux=self.aux if reads_aux else None,
            draws=(SLOT,) * draws if self.noise is None else numbers, noise=self.noise,
            out=self.x, aux_out=self.aux if writes_aux else None,
            stored=[None if s < 0 else self.slots[s] for s in stored],
            x_in=self.x_in, nonfinite=None if self.nonfinite is None else self.nonfinite[number],
        )  # fmt: skip


class PreparedRows(ABC):
    """Checked rows; made by :func:`genie_ext.prepare_rows`. backend: the name of the one that runs them.

    The tensors are kept alive, and must keep their memory.
    """

    backend: str

    @abstractmethod
    def __call__(self, number: int, outputs: Sequence[Tensor] = (), draws: Sequence[Tensor] = ()) -> None:
        """Run a row with these outputs, and draws where no noise was given, in order.

        They must not overlap what the row writes, which is looked at only under GENIE_EXT_CHECK=1. Raises ValueError or
        TypeError naming the argument.
        """

    @abstractmethod
    def run_checked(self, number: int, outputs: Sequence[Tensor]) -> None:
        """The same without draws, for outputs that the caller has looked at, so that nobody does it twice: of x's shape
        and device, of a float dtype, dense within a sample, aligned and without the negative bit.
        """

    @abstractmethod
    def move(self, number: int, x: Tensor | None, outputs: Sequence[Tensor], draws: Sequence[Tensor] = ()) -> Tensor:
        """The row from the state x, which stays as it is, into a new tensor: the state after it, for the caller.

        Where the rows have an x_in, they go on from their own state, x is None, and the new tensor is in the place of
        x_in. The caller has looked at the tensors, as of :meth:`run_checked`; x is contiguous and of the state's dtype.
        """

    def follow(self, number: int, x: Tensor, output: Tensor) -> Tensor | None:
        """:meth:`move` of a row of one output and no draws, the tensors looked at on the way; None, with nothing done,
        where they are not plain dense tensors of the state's shape, device and dtype, or the row is another one.

        Neither requires grad; the caller has looked.
        """
        return None


class GeneralRows(PreparedRows):
    """Prepared one by one: for every backend."""

    def __init__(self, rows: StepRows, backend: str, prepared: Sequence[Prepared]) -> None:
        self.backend, self._rows, self._prepared = backend, rows, prepared

    def __call__(self, number: int, outputs: Sequence[Tensor] = (), draws: Sequence[Tensor] = ()) -> None:
        if not 0 <= number < len(self._prepared):  # a list counts from its end, too
            self._rows.call(number)
        self._prepared[number](outputs, draws)

    def run_checked(self, number: int, outputs: Sequence[Tensor]) -> None:
        self(number, outputs)

    def move(self, number: int, x: Tensor | None, outputs: Sequence[Tensor], draws: Sequence[Tensor] = ()) -> Tensor:
        self._prepared[number](outputs, draws, x)
        return (self._rows.x if self._rows.x_in is None else self._rows.x_in).clone()


def check_rows(rows: StepRows) -> None:
    """What the rows share beside the tensors of each; ValueError or TypeError naming the argument."""
    layout, table = rows.layout, rows.table
    check_tensor("x", rows.x)
    for number, slot in enumerate(check_sequence("slots", rows.slots)):
        check_tensor(f"slots[{number}]", slot)
    if rows.noise is not None:
        check_noise_types(rows.noise)
    if not isinstance(layout, np.ndarray) or layout.dtype != np.int32 or not layout.flags.c_contiguous:
        raise TypeError(f"layout: {type(layout).__name__}; need a contiguous int32 array [rows, {LAYOUT_COLUMNS}]")
    if layout.ndim != 2 or layout.shape[1] != LAYOUT_COLUMNS:
        raise ValueError(f"layout: shape {layout.shape}; need [rows, {LAYOUT_COLUMNS}]")
    if not isinstance(table, Tensor) or table.ndim not in (2, 3) or table.shape[0] != len(layout):
        raise ValueError(f"table: {getattr(table, 'shape', table)}; need [{len(layout)}, n] or [{len(layout)}, B, n]")
    if table.ndim == 3 and table.shape[1] != rows.x.shape[0]:
        raise ValueError(f"table: {table.shape[1]} samples; the state has {rows.x.shape[0]}")
    if not table.is_contiguous():
        raise ValueError(f"table: strides {table.stride()}; pass .contiguous()")
    flags = rows.nonfinite
    if flags is not None and (
        flags.shape != (len(layout), rows.x.shape[0]) or flags.dtype != torch.int32 or not flags.is_contiguous()
    ):
        need = f"need a contiguous int32 tensor [{len(layout)}, {rows.x.shape[0]}]"
        raise ValueError(f"nonfinite: {flags.dtype} {tuple(flags.shape)}; {need}")
