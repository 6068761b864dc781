"""The integers of a plan: which coefficients a row has, and in which memory slots its history is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .check import MAX_CONVERTED, MAX_DRAWS, MAX_HISTORY
from .rows import Row
from .sources import HistoryEntry

__all__ = ["RowLayout", "lay_out", "packed"]


@dataclass(frozen=True)
class RowLayout:
    """The integers of a row: what its ``columns`` coefficients stand for, and where its history is kept.

    The columns are those of ``genie_ext.fused_step``: per converted output p, Q, bound, scale; per state x, (aux), y,
    history, draws; then the scale of the next network input.
    """

    calls: int
    outputs: int
    converted: int
    history: tuple[int, ...]  # slots, newest first
    draws: tuple[int, ...]
    store: tuple[int | None, ...]  # slot of each converted output, None where no later row reads it
    reads_aux: bool
    writes_aux: bool

    @property
    def columns(self) -> int:
        combine = 1 + self.reads_aux + self.converted + len(self.history) + len(self.draws)
        return self.converted * (self.outputs + 3) + (1 + self.writes_aux) * combine + 1


def lay_out(rows: Sequence[Row]) -> tuple[RowLayout, ...]:
    """Layout of every row, slots assigned by liveness."""
    stores = _assign_slots(rows)
    return tuple(
        RowLayout(
            calls=row.calls,
            outputs=row.outputs * (2 if row.calls == 2 else 1),
            converted=len(row.converted),
            history=tuple(_slot(stores, entry) for entry in row.history),
            draws=row.draws,
            store=store,
            reads_aux=row.reads_aux,
            writes_aux=row.aux is not None,
        )
        for row, store in zip(rows, stores, strict=False)
    )


def packed(layouts: Sequence[RowLayout]) -> NDArray[np.int32]:
    """int32 [rows, 26], as ``genie_ext.prepare_rows`` takes them; read-only."""
    table = np.array([_integers(row) for row in layouts], dtype=np.int32)
    table.flags.writeable = False
    return table


def _integers(row: RowLayout) -> list[int]:
    stored = [-1 if slot is None else slot for slot in row.store]
    return [
        row.outputs, row.converted, len(row.draws), int(row.reads_aux), int(row.writes_aux),
        len(row.history), *_filled_up(row.history, MAX_HISTORY),
        *_filled_up(stored, MAX_CONVERTED), *_filled_up(row.draws, MAX_DRAWS),
    ]  # fmt: skip


def _filled_up(values: Sequence[int], length: int) -> list[int]:
    return [*values, *(-1,) * (length - len(values))]


def _assign_slots(rows: Sequence[Row]) -> list[tuple[int | None, ...]]:
    """The slot of each converted output: the lowest that no later row still reads, None where nobody reads it."""
    last_read = {entry: number for number, row in enumerate(rows) for entry in row.reads}
    busy_until: list[int] = []  # per slot, the last row that reads it; free for writing only after that row
    stores: list[tuple[int | None, ...]] = []
    for number, row in enumerate(rows):
        chosen: list[int | None] = []
        for h in range(len(row.converted)):
            until = last_read.get(HistoryEntry(number, h))
            chosen.append(None if until is None else _take_free_slot(busy_until, number, until))
        stores.append(tuple(chosen))
    return stores


def _take_free_slot(busy_until: list[int], row: int, until: int) -> int:
    for slot, busy in enumerate(busy_until):
        if busy < row:
            busy_until[slot] = until
            return slot
    busy_until.append(until)
    return len(busy_until) - 1


def _slot(stores: Sequence[tuple[int | None, ...]], entry: HistoryEntry) -> int:
    slot = stores[entry.row][entry.h]
    if slot is None:
        raise ValueError(f"history: {entry} is read but was never stored")
    return slot
