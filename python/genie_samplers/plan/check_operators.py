"""Operators and gains of a plan, checked with the rest of its structure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real

from .._arguments import shown
from .apply import Apply
from .frozen import is_text
from .gains import Gain
from .rows import Init, Row
from .sources import KINDS, Source

__all__ = ["check_gains", "check_init", "check_operator"]

DISTRIBUTIONS = ("normal", "uniform")


def check_init(init: Init) -> None:
    """ValueError unless the scale is finite and not negative, and distribution and operator are known words."""
    scale = init.scale
    if not isinstance(scale, float | Real) or isinstance(scale, bool):
        raise ValueError(f"init: {shown(init)}; need an Init with a number as its scale")
    if init.distribution not in DISTRIBUTIONS or not 0.0 <= scale < math.inf:
        raise ValueError(f"init: {shown(init)}; need distribution 'normal' or 'uniform' and a finite scale >= 0")
    if init.operator is not None and not is_text(init.operator):
        raise ValueError(f"init: operator={shown(init.operator)}; need None, or the name of an operator")


def check_operator(number: int, apply: Apply, written_aux: bool) -> None:
    """ValueError naming the row for an operator without a name, or a source that it cannot read."""
    if apply.operator is not None and not is_text(apply.operator):
        raise ValueError(f"row {number}: operator={shown(apply.operator)}; need a name, or None to keep the source")
    if not _is_count(apply.index):
        raise ValueError(f"row {number}: index={shown(apply.index)}; need an integer from 0 on")
    _check_source(number, apply.source)
    if apply.source.of == "output":
        raise ValueError(f"row {number}: an operator reads {apply.source}; let a row convert it, and read that value")
    if apply.source.of == "aux" and not written_aux:
        raise ValueError(f"row {number}: reads aux, but no earlier row writes it")


def check_gains(number: int, row: Row, rows: Sequence[Row], written_aux: bool) -> None:
    """ValueError naming the row for a gain of nothing, of what the row does not have, or of a column twice."""
    if not isinstance(row.gains, tuple) or not all(isinstance(gain, Gain) for gain in row.gains):
        raise ValueError(f"row {number}: gains={shown(row.gains)}; need a tuple of Gain")
    for gain in row.gains:
        _check_gain(number, gain)
        for source in gain.sources:
            _check_read(number, row, source, rows, written_aux)
    columns = [column for gain in row.gains for column in gain.columns]
    if unknown := [column for column in columns if column not in _columns(row)]:
        raise ValueError(f"row {number}: a gain writes {shown(unknown[0])}; this row has {', '.join(_columns(row))}")
    if len(set(columns)) != len(columns):
        raise ValueError(f"row {number}: gains write {shown(columns)}; each column once")


def _check_gain(number: int, gain: Gain) -> None:
    if not is_text(gain.reduction):
        raise ValueError(f"row {number}: reduction={shown(gain.reduction)}; need the name of a reduction")
    if not isinstance(gain.sources, tuple) or not gain.sources:
        raise ValueError(f"row {number}: sources={shown(gain.sources)}; need a tuple of at least one Source")
    if not isinstance(gain.columns, tuple) or not gain.columns:
        raise ValueError(f"row {number}: columns={shown(gain.columns)}; need a tuple of at least one name")
    numbers = gain.parameters
    if not isinstance(numbers, tuple) or not all(isinstance(n, float | Real) and math.isfinite(n) for n in numbers):
        raise ValueError(f"row {number}: parameters={shown(numbers)}; need a tuple of finite numbers")
    if not isinstance(gain.coupled, bool):
        raise ValueError(f"row {number}: coupled={shown(gain.coupled)}; need True or False")
    for source in gain.sources:
        _check_source(number, source)


def _check_source(number: int, source: Source) -> None:
    if not isinstance(source, Source) or source.of not in KINDS:
        raise ValueError(f"row {number}: source={shown(source)}; need a Source of {', '.join(KINDS)}")
    if not _is_count(source.number) or not _is_count(source.h):
        raise ValueError(f"row {number}: source={shown(source)}; need numbers from 0 on")
    if (source.h and source.of != "value") or (source.number and source.of in ("state", "aux")):
        raise ValueError(f"row {number}: source={shown(source)}; leave out the numbers that it does not need")


def _check_read(number: int, row: Row, source: Source, rows: Sequence[Row], written_aux: bool) -> None:
    entry = source.entry
    known = {
        "draw": source.number in row.draws,
        "output": bool(row.calls) and source.number < row.outputs,
        "value": entry is not None and entry.row < number and entry.h < len(rows[min(entry.row, number)].converted),
        "aux": written_aux,
    }
    if not known.get(source.of, True):
        raise ValueError(f"row {number}: a gain reads {source}, which this row does not have; see docs/plan.md")


def _columns(row: Row) -> tuple[str, ...]:
    """Of the combinations, as ``genie_ext.column_names`` names them."""
    terms = ["x", *(["aux"] if row.reads_aux else []), *(f"y{h}" for h in range(len(row.converted)))]
    terms += [f"history{k}" for k in range(len(row.history))] + [f"draw{d}" for d in range(len(row.draws))]
    return (*terms, *(f"aux.{term}" for term in terms if row.aux is not None))


def _is_count(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 0
