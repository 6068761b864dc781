"""Rows that apply operators, and rows whose gains are computed while they run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from genie_ext import Noise, PreparedRows, column_names, memory_of, normal_fill, times_written

from ..plan import Apply, Gain, Row, Source
from .program import Program

__all__ = ["Readable", "RowsWithOperators", "applied", "gained_row", "table_of_gains"]


class Readable:
    """What operators and gains of a batch read: its states, values, and draws, filled from ``noise`` or given."""

    def __init__(
        self, program: Program, x: Tensor, aux: Tensor | None, slots: Sequence[Tensor | None], noise: Noise | None
    ) -> None:
        self.program, self.x, self.aux, self.slots, self.noise = program, x, aux, slots, noise
        self._filled: dict[int, Tensor] = {}  # by the place of a draw in its row

    @property
    def nbytes(self) -> int:
        """Of the draws."""
        return sum(draw.nbytes for draw in self._filled.values())

    def tensor(self, number: int, source: Source, outputs: Sequence[Tensor], draws: Sequence[Tensor]) -> Tensor:
        """[b, ...] in the compute dtype. outputs, draws: as of the row ``number``."""
        found = self._found(number, source, outputs, draws)
        if found is None:
            raise RuntimeError(f"row {number}: {source} is empty")
        return found.to(self.program.compute_dtype)

    def _found(self, number: int, source: Source, outputs: Sequence[Tensor], draws: Sequence[Tensor]) -> Tensor | None:
        match source.of:
            case "state":
                return self.x
            case "aux":
                return self.aux
            case "output":
                return outputs[source.number]
            case "draw":
                return self._draw(self.program.plan.rows[number].draws.index(source.number), source.number, draws)
            case _:
                slot = self.program.layout[source.number].store[source.h]
                return None if slot is None else self.slots[slot]

    def _draw(self, place: int, draw: int, draws: Sequence[Tensor]) -> Tensor:
        if self.noise is None:
            return draws[place]
        if place not in self._filled:
            with torch.inference_mode(False):  # a later run may be outside the mode
                self._filled[place] = torch.empty_like(self.x, dtype=self.program.compute_dtype, requires_grad=False)
        return normal_fill(self._filled[place], noise=self.noise, draw=draw, backend=self.program.backend)


class RowsWithOperators(PreparedRows):
    """Prepared rows, and between them what operators make; gains write into ``table``, [rows, b, n], before their row.

    nonfinite: int32 [rows, b], where an operator's inf or NaN is noted.
    """

    def __init__(self, rows: PreparedRows, readable: Readable, table: Tensor, nonfinite: Tensor) -> None:
        self.backend, self._rows, self._readable, self._table = rows.backend, rows, readable, table
        self._nonfinite = nonfinite

    @property
    def nbytes(self) -> int:
        """Of what it writes beside the state's own memory."""
        own = self._table is not self._readable.program.table
        return self._readable.nbytes + (self._table.nbytes if own else 0)

    def __call__(self, number: int, outputs: Sequence[Tensor] = (), draws: Sequence[Tensor] = ()) -> None:
        if not self._done(number, outputs, draws):
            self._rows(number, outputs, draws)

    def run_checked(self, number: int, outputs: Sequence[Tensor]) -> None:
        if not self._done(number, outputs, ()):
            self._rows.run_checked(number, outputs)

    def move(self, number: int, x: Tensor | None, outputs: Sequence[Tensor], draws: Sequence[Tensor] = ()) -> Tensor:
        raise TypeError("operators read the state where it lies")

    def _done(self, number: int, outputs: Sequence[Tensor], draws: Sequence[Tensor]) -> bool:
        """Whether that was all of the row."""
        program = self._readable.program
        row = program.plan.rows[number]
        if isinstance(row, Apply):
            slot = program.layout[number].store[0]
            if slot is not None and (out := self._readable.slots[slot]) is not None:
                applied(self._readable, number, row, draws, out)
                self._nonfinite[number] |= ~out.isfinite().flatten(1).all(1)
            return True
        if row.gains:
            _write_gains(self._readable, number, row, outputs, draws, self._table[number])
        return False


def table_of_gains(program: Program, batch: int) -> Tensor:
    """The program's numbers, once for each sample, in memory of their own: [rows, b, n]."""
    table = program.table if program.table.ndim == 3 else program.table[:, None].expand(-1, batch, -1)
    with torch.inference_mode(False):
        return table.detach().clone(memory_format=torch.contiguous_format)


def gained_row(
    readable: Readable, number: int, coefficients: Tensor, outputs: Sequence[Tensor], draws: Sequence[Tensor]
) -> Tensor:
    """The numbers of a row with its gains among them, [b, columns]; differentiable."""
    row = readable.program.plan.rows[number]
    if not row.gains:
        return coefficients
    numbers = coefficients.expand(len(readable.x), -1).clone()
    _write_gains(readable, number, row, outputs, draws, numbers)
    return numbers


def applied(readable: Readable, number: int, apply: Apply, draws: Sequence[Tensor], out: Tensor) -> Tensor:
    """``out``, written by the operator; ValueError naming it where it did something else."""
    value = readable.tensor(number, apply.source, (), draws)
    if apply.operator is None:
        return out.copy_(value)
    return run_operator(readable.program, apply.operator, apply.index, f"in row {number}", value, out)


def run_operator(program: Program, name: str, index: int, where: str, value: Tensor, out: Tensor) -> Tensor:
    """``out``, [b, ...], written by the operator of this name from ``value``; ValueError naming it and ``where``.

    What it leaves unwritten is NaN.
    """
    out.fill_(math.nan)  # else what lay there before would pass for noise
    before, shape, memory = times_written(value), out.shape, memory_of(value, out)
    try:
        returned = program.operators[name](value, index, out)
    except Exception as error:  # it is the caller's, and may raise what it likes
        raise _named(error, f"operators[{name!r}]: failed {where} on {tuple(shape)}") from error
    if returned is not None and returned is not out:
        raise ValueError(f"operators[{name!r}]: returned {_kind(returned)} {where}; write into out, and return nothing")
    if out.shape != shape:
        raise ValueError(f"operators[{name!r}]: made {tuple(out.shape)} of out {where}; leave it {tuple(shape)}")
    if times_written(value) != before:
        raise ValueError(f"operators[{name!r}]: wrote into value {where}; write into out alone")
    if memory_of(value, out) != memory:
        raise ValueError(f"operators[{name!r}]: gave out or value other memory {where}; write by out.copy_(...)")
    return out


def _named(error: Exception, where: str) -> Exception:
    """What to raise in its place: a ValueError, but out of memory stays what callers look for."""
    speaks = isinstance(error, RuntimeError | ValueError | TypeError | IndexError) and str(error)
    text = f"{where}: {error if speaks else ' '.join(filter(None, (type(error).__name__, str(error))))}"
    kinds = (MemoryError, torch.OutOfMemoryError)  # numpy's own, of the first, is not made of a text
    return next((kind for kind in kinds if isinstance(error, kind)), ValueError)(text)


def _write_gains(
    readable: Readable, number: int, row: Row, outputs: Sequence[Tensor], draws: Sequence[Tensor], numbers: Tensor
) -> None:
    """numbers: of the row, [b, n]."""
    for gain in row.gains:
        sources = [readable.tensor(number, source, outputs, draws) for source in gain.sources]
        made = _reduced(readable.program, gain, number, sources)
        _check_made(gain, number, made, len(readable.x))
        for place, values in zip(_columns(readable.program, number, gain), made.unbind(1), strict=True):
            numbers[:, place] = values.to(numbers.dtype)


def _reduced(program: Program, gain: Gain, number: int, sources: list[Tensor]) -> Any:
    """What the reduction returns; ValueError naming it and the row where it fails, or writes into what it reads."""
    before = [times_written(source) for source in sources], memory_of(*sources)
    try:
        made = program.reductions[gain.reduction](sources, gain.parameters)
    except Exception as error:  # it is the caller's, and may raise what it likes
        raise _named(error, f"gains[{gain.reduction!r}]: failed in row {number}") from error
    if ([times_written(source) for source in sources], memory_of(*sources)) != before:
        raise ValueError(f"gains[{gain.reduction!r}]: wrote into its sources in row {number}; work on a copy")
    return made


def _columns(program: Program, number: int, gain: Gain) -> list[int]:
    """Where the gain's numbers stand in the row."""
    layout = program.layout[number]
    names = column_names(
        outputs=layout.outputs, converted=layout.converted, history=len(layout.history), draws=len(layout.draws),
        aux=layout.reads_aux, aux_out=layout.writes_aux,
    )  # fmt: skip
    return [names.index(name) for name in gain.columns]


def _check_made(gain: Gain, number: int, made: object, batch: int) -> None:
    need = (batch, len(gain.columns))
    if not isinstance(made, Tensor) or tuple(made.shape) != need or not made.is_floating_point():
        raise ValueError(f"gains[{gain.reduction!r}]: made {_kind(made)} in row {number}; need a float tensor {need}")


def _kind(value: Any) -> str:
    return f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
