"""The second kind of instruction: a named linear operator on one tensor."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from .gains import Gain
from .rows import Combination, Conversion, Row
from .sources import HistoryEntry, Source

__all__ = ["Apply"]

_DERIVED = {"written": False}


@dataclass(frozen=True, init=False)
class Apply(Row):
    """A value that the operator called ``operator`` makes of ``source``; None: the source itself, kept.

    Later rows, operators and gains name it (number of this instruction, 0). ``index`` is handed to the operator: which
    of a bank. A draw is its own: no row draws it once more. As a row it asks no network and leaves the states alone.
    What it makes is linear in the source but unknown to the plan: no ``unrolled()``.
    """

    kind: ClassVar[str] = "apply"

    operator: str | None
    source: Source
    index: int
    time: float

    x: Combination = field(init=False, repr=False, metadata=_DERIVED)
    aux: Combination | None = field(init=False, repr=False, metadata=_DERIVED)
    converted: tuple[Conversion, ...] = field(init=False, repr=False, metadata=_DERIVED)
    history: tuple[HistoryEntry, ...] = field(init=False, repr=False, metadata=_DERIVED)
    draws: tuple[int, ...] = field(init=False, repr=False, metadata=_DERIVED)
    calls: int = field(init=False, repr=False, metadata=_DERIVED)
    input_scale: float = field(init=False, repr=False, metadata=_DERIVED)
    gains: tuple[Gain, ...] = field(init=False, repr=False, metadata=_DERIVED)

    def __init__(self, operator: str | None, source: Source, *, index: int = 0, time: float) -> None:
        entry, of = getattr(source, "entry", None), getattr(source, "of", None)  # the plan's check refuses what is none
        history = () if entry is None else (entry,)
        draws = (source.number,) if of == "draw" else ()
        unread = Combination(x=1.0, y=(0.0,), history=(0.0,) * len(history), draws=(0.0,) * len(draws))
        vars(self).update(
            operator=operator, source=source, index=index, time=time, x=unread, aux=None,
            converted=(Conversion(0.0, ()),), history=history, draws=draws, calls=0, input_scale=1.0, gains=(),
        )  # fmt: skip

    @property
    def sources(self) -> tuple[Source, ...]:
        return (self.source,)

    def __str__(self) -> str:
        which = f"[{self.index}]" if self.index else ""
        return f"keep {self.source}" if self.operator is None else f"apply {self.operator}{which} to {self.source}"
