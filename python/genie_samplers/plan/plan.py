"""A solver as a table of float64 numbers: rows of scalars that one loop and one kernel execute.

A row evaluates the network at ``time`` and, per sample, does

    y_h  = scale_h * clamp(p_h*x + sum_o q_h[o]*output_o, -bound_h, +bound_h)      h = 1..H
    x'   = x . [x, aux, y_1..y_H, history newest first] + x.draws . [d_1, d_2]
    aux' = the same with the row's second combination, where it has one

``history`` names converted outputs of earlier rows by (row, h); the memory slots that hold them follow from liveness.
Between rows an :class:`Apply` makes such a value by a named operator.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..schedules import Schedule
from .apply import Apply
from .calls import Call, calls_of
from .check import check
from .format import dumps, loads
from .frozen import frozen
from .layout import RowLayout, lay_out, packed
from .recipe import Recipe, schedule_of
from .rows import Init, Row
from .strict_json import decode
from .text import describe
from .unroll import Unrolled, unroll

__all__ = ["Plan"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Plan:
    """Immutable and shareable between threads. Equality and hash are those of the canonical JSON.

    outputs: names of the network's outputs in order. quantity: what y is, "epsilon", "x0" or "flow" (epsilon - x0);
    a row may make an x0 of its own output beside it (:attr:`Row.x0`). guidance: None, one scale,
    or one per sample; set by :meth:`guided`, which doubles the outputs. note: printed with the plan, no
    part of its JSON: how it was chosen. calibration: of a plan whose numbers were fitted to a network, the record of it
    (docs/calibrate.md); its recipe then says the solver it began as, and the fitted times.
    """

    init: Init
    outputs: tuple[str, ...]
    quantity: str
    rows: tuple[Row | Apply, ...]
    recipe: Recipe | None = None
    guidance: tuple[float, ...] | None = None
    note: str = field(default="", metadata={"written": False})
    calibration: Mapping[str, object] | None = field(default=None, metadata={"optional": True})

    def __post_init__(self) -> None:
        if self.calibration is not None:
            object.__setattr__(self, "calibration", frozen(self.calibration, "calibration"))
        check(self)

    # --- what a run costs and needs

    @cached_property
    def times(self) -> tuple[float, ...]:
        """Time of each row's network evaluation."""
        return tuple(row.time for row in self.rows)

    @property
    def nfe(self) -> int:
        """Network evaluations per sample as papers count them: a guided pair is one."""
        return sum(row.calls > 0 for row in self.rows)

    @property
    def network_calls(self) -> int:
        """Network evaluations per sample, a guided pair counted as two."""
        return sum(row.calls for row in self.rows)

    @property
    def output_names(self) -> tuple[str, ...]:
        """What the model returns: the outputs, and with guidance their unconditional twins after them."""
        twins = () if self.guidance is None else tuple(f"uncond.{name}" for name in self.outputs)
        return self.outputs + twins

    @property
    def rising(self) -> bool:
        """Whether time grows from row to row: the plan encodes data instead of sampling it."""
        times = self.times if self.recipe is None else self.recipe.grid
        return times[-1] > times[0]

    @property
    def stochastic(self) -> bool:
        return any(row.draws for row in self.rows)

    @cached_property
    def operators(self) -> tuple[str, ...]:
        """The names of the operators that a run is to be given, in order."""
        named = (self.init.operator, *(row.operator for row in self.rows if isinstance(row, Apply)))
        return tuple(dict.fromkeys(name for name in named if name is not None))

    @cached_property
    def reductions(self) -> tuple[str, ...]:
        """The names of the reductions of its gains, in order."""
        return tuple(dict.fromkeys(gain.reduction for row in self.rows for gain in row.gains))

    @cached_property
    def is_table(self) -> bool:
        """Whether the numbers say all that the plan does: no operator is applied, and no number computed on the way."""
        return not (self.reductions or self.init.operator or any(isinstance(row, Apply) for row in self.rows))

    @cached_property
    def couples_samples(self) -> bool:
        """Whether a sample depends on the others of its batch."""
        return any(gain.coupled for row in self.rows for gain in row.gains)

    @cached_property
    def schedule(self) -> Schedule:
        """The schedule of the recipe; raises ValueError for a plan without one."""
        if self.recipe is None:
            raise ValueError("plan: has no recipe that says its schedule; make it with make_plan or a solver function")
        return schedule_of(self.recipe.schedule)

    # --- integers and numbers apart

    @cached_property
    def layout(self) -> tuple[RowLayout, ...]:
        return lay_out(self.rows)

    @cached_property
    def packed_layout(self) -> NDArray[np.int32]:
        """``layout`` as integers, [rows, 26]."""
        return packed(self.layout)

    @cached_property
    def calls(self) -> tuple[Call, ...]:
        """What every row asks of the network."""
        return calls_of(self.rows, self.outputs)

    @cached_property
    def input_scales(self) -> tuple[float, ...]:
        """What multiplies the state on its way into the next network call at or after each row."""
        scales: list[float] = []
        for row in reversed(self.rows):
            scales.append(scales[-1] if isinstance(row, Apply) and scales else row.input_scale)
        return tuple(reversed(scales))

    @cached_property
    def slots(self) -> int:
        """Memory slots that the history needs."""
        return 1 + max((s for layout in self.layout for s in layout.store if s is not None), default=-1)

    @cached_property
    def table(self) -> Array:
        """The numbers, float64 [rows, n], or [rows, B, n] with one guidance scale per sample; padded with zeros."""
        scales = (1.0,) if self.guidance is None else self.guidance
        table = np.zeros((len(self.rows), len(scales), max(layout.columns for layout in self.layout)))
        for i, layout in enumerate(self.layout):
            for b, scale in enumerate(scales):
                table[i, b, : layout.columns] = self._coefficients(i, scale)
        table.flags.writeable = False
        return table[:, 0] if len(scales) == 1 else table

    def _coefficients(self, number: int, scale: float) -> list[float]:
        row = self.rows[number]
        flat: list[float] = []
        for c in row.converted:
            q = c.q[: row.outputs]
            if row.calls == 2:
                q = (*(scale * v for v in q), *((1.0 - scale) * v for v in q))
            flat += (c.p, *q, c.bound, c.scale)
        for state in (row.x, row.aux):
            flat += () if state is None else state.flat(with_aux=row.reads_aux)
        last = number + 1 == len(self.rows)
        return [*flat, 1.0 if last else self.input_scales[number + 1]]

    # --- other plans

    def guided(self, scale: float | Sequence[float]) -> Plan:
        """Classifier-free guidance, one scale or one per sample: scale * conditional + (1 - scale) * unconditional."""
        if self.guidance is not None:
            raise ValueError(f"guidance={self.guidance} is already set; call guided() on the unguided plan")
        try:
            numbers = np.atleast_1d(np.asarray(scale, dtype=np.float64))
        except (TypeError, ValueError) as error:
            raise TypeError(f"scale={scale!r}; need a finite number or a list of them, one per sample") from error
        if numbers.ndim != 1 or numbers.size == 0 or not np.isfinite(numbers).all():
            raise ValueError(f"scale={scale!r}; need a finite number or a list of them, one per sample")
        scales = tuple(numbers.tolist())
        rows = tuple(replace(row, calls=2) if row.calls == 1 else row for row in self.rows)
        return replace(self, rows=rows, guidance=scales)

    # --- canonical forms

    def unrolled(self) -> Unrolled:
        """Every state as a linear function of x_T, the network's outputs (a guided pair mixed) and the draws.

        ValueError for a plan that clamps, applies operators or computes gains.
        """
        return unroll(self.rows)

    def allclose(self, other: Plan, rtol: float = 1e-12) -> bool:
        """Whether both ask the network the same and map (x_T, outputs, draws) alike to the last state.

        Times, input scales and, for each kind of coefficient, its largest entry set the scale of ``rtol``.
        """
        if (self.output_names, self.guidance) != (other.output_names, other.guidance):
            return False
        parts = zip(_what_is_done(self), _what_is_done(other), strict=True)
        return all(_close(mine, theirs, rtol) for mine, theirs in parts)

    def to_json(self, *, indent: int | None = None) -> str:
        """Canonical text of format version 2 (docs/plan.md)."""
        return dumps(self, indent=indent)

    @staticmethod
    def from_json(text: str) -> Plan:
        """Read :meth:`to_json`'s text, also of format version 1; ValueError with the path of anything else in it."""
        return decode(Plan, loads(text))

    @cached_property
    def _canonical(self) -> str:
        return self.to_json()

    def __eq__(self, other: object) -> bool:
        return self._canonical == other._canonical if isinstance(other, Plan) else NotImplemented

    def __reduce__(self) -> tuple[object, ...]:
        return Plan.from_json, (self.to_json(),)

    def __hash__(self) -> int:
        return hash(self._canonical)

    def __str__(self) -> str:
        title = f"{self._title}\n  {self.note}" if self.note else self._title
        return describe(title, self.quantity, self.rows)

    @property
    def _title(self) -> str:
        title = (
            f"{self.recipe.solver if self.recipe else 'plan'}: {len(self.rows)} rows, nfe {self.nfe}, network calls "
            f"{self.network_calls}, history slots {self.slots}, x_T = {self.init}"
        )
        return title if self.guidance is None else f"{title}, guidance {', '.join(f'{s:g}' for s in self.guidance)}"


def _what_is_done(plan: Plan) -> tuple[Array, ...]:
    """What the network is asked, and the last state's coefficients of x_T, of its outputs and of the draws."""
    asked = [number for number, row in enumerate(plan.rows) if row.calls]
    times = np.array([plan.rows[number].time for number in asked])
    scales = np.array([plan.rows[number].input_scale for number in asked])
    linear = plan.unrolled()
    return times, scales, linear.state[-1:], linear.output[-1, asked], linear.draw[-1]


def _close(a: Array, b: Array, rtol: float) -> bool:
    return a.shape == b.shape and (a.size == 0 or bool(np.abs(a - b).max() <= rtol * np.abs(a).max()))
