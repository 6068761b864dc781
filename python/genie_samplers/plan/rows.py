"""The rows of a plan: what one network evaluation does to the state, as float64 numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from .gains import Gain
from .sources import HistoryEntry, Source

__all__ = ["Combination", "Conversion", "Init", "Row"]


@dataclass(frozen=True)
class Conversion:
    """y = scale * clamp(p*x + sum q[o]*output_o, -bound, +bound)."""

    p: float
    q: tuple[float, ...]
    bound: float = np.inf
    scale: float = 1.0


@dataclass(frozen=True)
class Combination:
    """Weights of [x, aux, y_1..y_H, history newest first] and of the draws."""

    x: float = 0.0
    aux: float = 0.0
    y: tuple[float, ...] = ()
    history: tuple[float, ...] = ()
    draws: tuple[float, ...] = ()

    def flat(self, *, with_aux: bool) -> tuple[float, ...]:
        return (self.x, *((self.aux,) if with_aux else ()), *self.y, *self.history, *self.draws)


@dataclass(frozen=True)
class Row:
    """One row. calls: 0 no network, 1 conditional only, 2 the guided pair. draws: numbers unique in the plan.

    ``input_scale`` multiplies the state on its way into this row's network call. ``gains`` write numbers of the row
    while it runs. ``kind``: its tag in JSON.
    """

    kind: ClassVar[str] = "row"

    time: float
    x: Combination
    aux: Combination | None = None
    converted: tuple[Conversion, ...] = ()
    history: tuple[HistoryEntry, ...] = ()
    draws: tuple[int, ...] = ()
    calls: int = 1
    input_scale: float = 1.0
    gains: tuple[Gain, ...] = field(default=(), metadata={"optional": True})

    @property
    def sources(self) -> tuple[Source, ...]:
        """What is read beside the row itself: by its gains."""
        return tuple(source for gain in self.gains for source in gain.sources)

    @property
    def reads(self) -> tuple[HistoryEntry, ...]:
        """The earlier values that the row and its gains read."""
        return (*self.history, *(source.entry for source in self.sources if source.entry is not None))

    @property
    def reads_aux(self) -> bool:
        return self.x.aux != 0.0 or (self.aux is not None and self.aux.aux != 0.0)

    @property
    def x0(self) -> int | None:
        """Which converted output is the network's x0 prediction beside one of another quantity; None without.

        Of two conversions the second is either that or a derivative, which reads neither state nor prediction.
        """
        second = self.converted[1] if len(self.converted) == 2 else None
        return 1 if second is not None and self.calls and (second.p or any(second.q[:1])) else None

    @property
    def outputs(self) -> int:
        """How many leading network outputs the row reads, before guidance doubles them; one if all weights are 0."""
        read = [place for c in self.converted for place, weight in enumerate(c.q, start=1) if weight != 0.0]
        return max(read, default=int(any(c.q for c in self.converted)))


@dataclass(frozen=True)
class Init:
    """Initial state: ``scale`` times noise (stream 0, draw 0), "normal" or "uniform" on [0, 1).

    operator: the name of one that the noise goes through first, with index 0.
    """

    scale: float
    distribution: str = "normal"
    operator: str | None = field(default=None, metadata={"optional": True})

    def __str__(self) -> str:
        noise = {"normal": "z", "uniform": "u"}.get(self.distribution, self.distribution)
        return f"{self.scale:.6g} {noise if self.operator is None else f'{self.operator}({noise})'}"
