"""Any stochastic plan with its noise sent through an operator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from .._arguments import boolean
from .apply import Apply
from .gains import Gain
from .plan import Plan
from .rows import Combination, Row
from .sources import HistoryEntry, Source

__all__ = ["filtered"]


def filtered(
    plan: Plan, operator: str, *, start: bool | None = None, draws: bool = True, by_draw: bool = False
) -> Plan:
    """``plan`` with every draw (``draws``), and the noise of the first state (``start``), through this operator.

    by_draw: hand it the number of the draw as its index, of a bank with one for each; else 0, which the first state is
    handed always, so that by default it is left out with ``by_draw``. A draw becomes a value, made so early that it
    stays the last term of its row: with the identity as operator the bits are those of ``plan``. The recipe stays that
    of ``plan``, so what rebuilds a plan refuses this one. ValueError for a plan that applies operators already, and
    where a row has no room for one more value.
    """
    if plan.operators:
        raise ValueError(f"plan: applies {', '.join(plan.operators)} already; give one without operators")
    draws, by_draw = boolean(draws, "draws"), boolean(by_draw, "by_draw")
    start = not by_draw if start is None else boolean(start, "start")
    if start and by_draw:
        raise ValueError("start=True with by_draw=True: the first state is no draw and has no filter of the bank")
    init = replace(plan.init, operator=operator) if start else plan.init
    return replace(plan, init=init, rows=_rows(plan.rows, operator, by_draw=by_draw) if draws else plan.rows)


def _rows(rows: tuple[Row, ...], operator: str, *, by_draw: bool) -> tuple[Row, ...]:
    before: dict[int, list[Apply]] = {}  # row -> what is made before it
    for number, row in enumerate(rows):
        oldest = min((entry.row for entry in row.history), default=number)
        # the first draw is the newer value: the history lists the newest first
        time = rows[oldest].time
        applied = [Apply(operator, Source.draw(d), index=d if by_draw else 0, time=time) for d in row.draws]
        before.setdefault(oldest, []).extend(reversed(applied))
    made: list[Row] = []
    places: dict[int, int] = {}  # old number -> new one
    of_draw: dict[int, int] = {}
    for number, row in enumerate(rows):
        for apply in before.get(number, ()):
            of_draw[apply.source.number] = len(made)
            made.append(apply)
        places[number] = len(made)
        made.append(_moved(row, places, of_draw))
    return tuple(made)


def _moved(row: Row, places: Mapping[int, int], of_draw: Mapping[int, int]) -> Row:
    """The row with what it reads under new numbers, and its draws among its history."""
    history = tuple(HistoryEntry(places[entry.row], entry.h) for entry in row.history)
    return replace(
        row,
        history=(*history, *(HistoryEntry(of_draw[d]) for d in row.draws)),
        draws=(),
        x=_combined(row.x),
        aux=None if row.aux is None else _combined(row.aux),
        gains=tuple(_gain(gain, row, places, of_draw) for gain in row.gains),
    )


def _combined(weights: Combination) -> Combination:
    return replace(weights, history=(*weights.history, *weights.draws), draws=())


def _gain(gain: Gain, row: Row, places: Mapping[int, int], of_draw: Mapping[int, int]) -> Gain:
    """It reads and weighs the filtered draws."""
    sources = {
        source: Source.value(places[source.number], source.h) if source.of == "value" else source
        for source in gain.sources
    }
    sources |= {Source.draw(d): Source.value(of_draw[d]) for d in row.draws}
    columns = {
        f"{state}draw{k}": f"{state}history{len(row.history) + k}"
        for state in ("", "aux.")
        for k in range(len(row.draws))
    }
    return replace(
        gain,
        sources=tuple(sources[source] for source in gain.sources),
        columns=tuple(columns.get(column, column) for column in gain.columns),
    )
