"""What the rows of a plan ask of the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .rows import Row

__all__ = ["Call", "calls_of"]


@dataclass(frozen=True)
class Call:
    """What a row asks: the network at ``time`` for its first ``outputs``; ``calls`` 0 none, 1 one half, 2 a guided
    pair.

    names: what the row reads, in order, a guided pair's twins with the prefix ``uncond.``. unread: how many outputs
    more the plan has, of each half.
    """

    row: int
    time: float
    calls: int
    outputs: int
    names: tuple[str, ...]
    unread: int

    def read(self, outputs: Any) -> Any:
        """Of all outputs of the plan those that the row reads; what holds others than all is returned as it is."""
        if not self.unread or not isinstance(outputs, tuple | list):
            return outputs
        half = self.outputs + self.unread
        if len(outputs) != self.calls * half:
            return outputs
        return tuple(outputs[start + i] for start in range(0, len(outputs), half) for i in range(self.outputs))


def calls_of(rows: Sequence[Row], outputs: Sequence[str]) -> tuple[Call, ...]:
    """Of every row; outputs: the plan's."""
    return tuple(_call(number, row, outputs) for number, row in enumerate(rows))


def _call(number: int, row: Row, outputs: Sequence[str]) -> Call:
    names = tuple(outputs[: row.outputs]) if row.calls else ()
    twins = tuple(f"uncond.{name}" for name in names) if row.calls == 2 else ()
    unread = len(outputs) - len(names) if row.calls else 0
    return Call(number, row.time, row.calls, len(names), names + twins, unread)
