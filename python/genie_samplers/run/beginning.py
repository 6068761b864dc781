"""What a PlanState begins with, checked before a row writes anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from genie_ext import Noise

from .._arguments import integer
from ..models.outputs import FLOATS
from ..plan import HistoryEntry
from .program import Program

__all__ = ["apart", "check_beginning", "check_like"]


def check_beginning(
    program: Program,
    x: Tensor,
    noise: Noise | None,
    first_row: int,
    aux: Tensor | None,
    values: Mapping[HistoryEntry, Tensor],
) -> None:
    """ValueError or TypeError naming the argument of ``PlanState`` that does not fit the program."""
    if not isinstance(program, Program):
        raise TypeError(f"program: {type(program).__name__}; pass Program.of(plan)")
    if noise is not None and not isinstance(noise, Noise):
        raise TypeError(f"noise: {type(noise).__name__}; pass genie_ext.Noise(seed, sample_ids), or None")
    if not isinstance(x, Tensor):
        raise TypeError(f"x: {type(x).__name__}; pass the state at the plan's first time, a tensor [b, ...]")
    if x.ndim < 2 or len(x) < 1:
        raise ValueError(f"x: shape {tuple(x.shape)}; need [b, ...] with at least one sample")
    if x.dtype != program.dtype or x.device != program.device:
        raise ValueError(f"x: {x.dtype} on {x.device}; the program runs in {program.dtype} on {program.device}")
    if program.table.ndim == 3 and program.table.shape[1] != len(x):
        raise ValueError(
            f"x: {len(x)} samples, but the program's table has numbers for {program.table.shape[1]}; take "
            "program.for_samples(index)"
        )
    if noise is not None and len(noise.sample_ids) != len(x):
        raise ValueError(f"noise: {len(noise.sample_ids)} sample ids for {len(x)} samples; give one per sample")
    rows = len(program.layout)
    if not 0 <= integer(first_row, "first_row") < rows:
        raise ValueError(f"first_row={first_row}; the plan has {rows} rows, so it is 0..{rows - 1}")
    if aux is not None:
        check_like("aux", aux, x, program.dtype)
    elif first_row and _needs_aux(program, first_row):
        raise ValueError(f"aux: missing; from row {first_row} on the second state of an earlier row is read")
    if first_row or values:
        _check_values(program, x, first_row, values)


def check_like(name: str, value: Tensor, x: Tensor, dtype: torch.dtype | None = None) -> None:
    """ValueError or TypeError unless ``value`` is a tensor of x's shape and device, of ``dtype`` or any float."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name}: {type(value).__name__}; pass a tensor {tuple(x.shape)}")
    if value.shape != x.shape:
        raise ValueError(f"{name}: shape {tuple(value.shape)}; need {tuple(x.shape)}")
    if value.dtype not in (FLOATS if dtype is None else (dtype,)):
        raise TypeError(f"{name}: dtype {value.dtype}; need {'a float dtype' if dtype is None else dtype}")
    if value.device != x.device:
        raise ValueError(f"{name}: on {value.device}; the state is on {x.device}")


def apart(x: Tensor, written: Sequence[Tensor | None]) -> Tensor:
    """x, or a copy of it where it lies in memory that will be written; all of them contiguous."""
    try:
        begin, end = x.data_ptr(), x.data_ptr() + x.nbytes
    except RuntimeError:  # no memory, which the op refuses by name
        return x
    for target in written:
        if target is not None and begin < target.data_ptr() + target.nbytes and target.data_ptr() < end:
            return x.clone()
    return x


def _needs_aux(program: Program, first_row: int) -> bool:
    """Whether a row from ``first_row`` on reads the second state before one has written it."""
    for row in program.plan.rows[first_row:]:
        if row.reads_aux or any(source.of == "aux" for source in row.sources):
            return True
        if row.aux is not None:
            return False
    return False


def _check_values(program: Program, x: Tensor, first_row: int, values: Mapping[HistoryEntry, Tensor]) -> None:
    rows = program.plan.rows[first_row:]
    read = {entry for row in rows for entry in row.reads if entry.row < first_row}
    if missing := sorted(read - values.keys()):
        raise ValueError(f"values: {missing[0]} is missing; a row from {first_row} on reads it")
    if unread := sorted(values.keys() - read):
        raise ValueError(f"values: {unread[0]} is read by no row from {first_row} on; leave it out")
    for entry, value in values.items():
        check_like(f"values[{entry}]", value, x, program.compute_dtype)
