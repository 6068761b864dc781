"""A plan printed for people: the formula, and the table under it."""

from __future__ import annotations

from collections.abc import Sequence

from .apply import Apply
from .rows import Row

__all__ = ["describe"]

_FORMULA = """\
  y  = p*x + q*out          (the network's output as {quantity})
  x' = W.[x, aux, y, history newest first] + C.d"""


def describe(title: str, quantity: str, rows: Sequence[Row]) -> str:
    """Title, formula and one line per row."""
    cells = [_HEADER, *(line for number, row in enumerate(rows) for line in _lines(number, row))]
    widths = [max(len(line[k]) for line in cells) for k in range(len(_HEADER))]
    table = ["  " + "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=False)).rstrip() for line in cells]
    return "\n".join([title, _FORMULA.format(quantity=quantity), *table, *_footnotes(rows)])


def _footnotes(rows: Sequence[Row]) -> list[str]:
    """What rows compute while they run."""
    return [
        f"  row {number}: {', '.join(gain.columns)} = {gain.reduction}({', '.join(map(str, gain.sources))})"
        for number, row in enumerate(rows)
        for gain in row.gains
    ]


_HEADER = ("row", "time", "calls", "p", "q", "state", "W x", "W aux", "W y", "W history", "C")


def _lines(number: int, row: Row) -> list[tuple[str, ...]]:
    if isinstance(row, Apply):
        return [(str(number), f"{row.time:.6g}", "0", "", "", str(row), *("",) * 5)]
    p = ", ".join(f"{c.p:.6g}" for c in row.converted)
    q = ", ".join(_list(c.q) for c in row.converted)
    head = (str(number), f"{row.time:.6g}", str(row.calls), p, q)
    lines = []
    for state, w in (("x'", row.x), ("aux'", row.aux)):
        if w is not None:
            weights = (_number(w.x), _number(w.aux), _list(w.y), _list(w.history), _list(w.draws))
            lines.append((*head, state, *weights))
            head = ("",) * len(head)
    return lines


def _list(values: tuple[float, ...]) -> str:
    return " ".join(f"{v:.6g}" for v in values)


def _number(value: float) -> str:
    return f"{value:.6g}" if value else ""
