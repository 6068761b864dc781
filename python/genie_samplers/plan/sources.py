"""What operators and gains read: the states, a draw, an earlier value or an output of the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["KINDS", "HistoryEntry", "Source"]

KINDS = ("state", "aux", "draw", "value", "output")


class HistoryEntry(NamedTuple):
    """A value of an earlier row: a converted output, or (h = 0) what an :class:`Apply` made."""

    row: int
    h: int = 0


@dataclass(frozen=True)
class Source:
    """``of``: one of :data:`KINDS`; ``number``: of the draw, the output, or the row of the value, ``h`` its place."""

    of: str
    number: int = 0
    h: int = 0

    @classmethod
    def state(cls) -> Source:
        """The state x as it is before the row."""
        return cls("state")

    @classmethod
    def aux(cls) -> Source:
        """The second state."""
        return cls("aux")

    @classmethod
    def draw(cls, number: int) -> Source:
        """A draw, by its number in the plan."""
        return cls("draw", number)

    @classmethod
    def value(cls, row: int, h: int = 0) -> Source:
        """A value of an earlier row."""
        return cls("value", row, h)

    @classmethod
    def output(cls, number: int = 0) -> Source:
        """An output of the network in this row, as it is returned."""
        return cls("output", number)

    @property
    def entry(self) -> HistoryEntry | None:
        """The value that is read; None where it is something else."""
        return HistoryEntry(self.number, self.h) if self.of == "value" else None

    def __str__(self) -> str:
        match self.of:
            case "value":
                return f"value ({self.number}, {self.h})"
            case "draw" | "output":
                return f"{self.of} {self.number}"
            case _:
                return self.of
