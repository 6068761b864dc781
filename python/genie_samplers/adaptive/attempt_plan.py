"""An attempted step as a plan: its rows once, with one set of numbers per trajectory and attempt.

In x = S y, with the scale S and the slope w of :class:`StepVariable` and the step's base state in aux, stage i + 1
stands at

    x_(i+1) = (S_(i+1) / S_0) x_0 + S_(i+1) h sum_(j <= i) a_(i+1),j w_j f_j        f: epsilon, or epsilon - x_0

Row 0 evaluates f_0 at the base state. Row 1 makes x_1 of it, for the step before may have left it. Row i + 1
calls the network at x_i and makes x_(i+1); the last of them leaves the new state as it is and puts its error estimate,
times S, into aux. One row more makes the first-order step from the new state with the newest prediction.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..numerics import Tableau
from ..plan import Combination, Conversion, HistoryEntry, Init, Plan, Row
from .step_variable import StepVariable

__all__ = ["AttemptPlan", "Numbers"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Numbers:
    """Of the rows ``first`` to ``last`` of an :class:`AttemptPlan`; g is 1 where all samples share the step.

    table: [all rows, g, columns]. times: [rows that run, g]. ratio: [g] scale at the last row / scale at the base;
    scale: [g] at the last row. known: whose prediction is that of the base state, None where the first row makes it.
    """

    first: int
    last: int
    table: Array
    times: Array
    ratio: Array
    scale: Array
    known: HistoryEntry | None


@dataclass(frozen=True)
class AttemptPlan:
    """Makes the numbers of a run's steps. guided: whether the network returns a guided pair."""

    tableau: Tableau
    variable: StepVariable
    prediction: str
    guided: bool

    @property
    def base(self) -> HistoryEntry:
        """The prediction of the base state."""
        return HistoryEntry(0)

    @property
    def newest(self) -> HistoryEntry:
        """The prediction of the new state: first same as last."""
        return HistoryEntry(self.tableau.stages)

    @cached_property
    def plan(self) -> Plan:
        """The rows; of their numbers only which are there counts."""
        stages, t = self.tableau.stages, self.variable.t_start
        converted = (Conversion(1.0, (1.0,)),)
        rows = [
            Row(t, Combination(1.0, y=(1.0,)), aux=Combination(1.0, y=(1.0,)), converted=converted),
            _first_order(t, self.base),
        ]
        for stage in range(1, stages):
            earlier = tuple(HistoryEntry(row) for row in (*range(stage, 1, -1), 0))
            terms = Combination(1.0, 1.0, y=(1.0,), history=(1.0,) * stage)
            last = stage == stages - 1
            rows.append(Row(t, terms, aux=terms if last else None, converted=converted, history=earlier))
        rows.append(_first_order(t, self.newest))
        scale = float(self.variable.schedule.sigma(t))
        plan = Plan(Init(scale), (self.prediction,), self.variable.quantity, tuple(rows))
        return plan.guided(1.0) if self.guided else plan

    def evaluation(self, t: float, guidance: Array | None) -> Numbers:
        """The prediction of the base state."""
        row = (*self._conversion(np.array([t]), guidance), 1.0, 0.0, 1.0, 0.0, 1.0)
        scale = self.variable.scale([t])
        return Numbers(0, 0, self._table({0: row}), np.array([[t]]), np.ones_like(scale), scale, None)

    def transfer(self, t: float, t_next: float) -> Numbers:
        """The first-order step from the base state with its known prediction: no network call."""
        number = self.tableau.stages + 1
        ratio, weight = self.variable.first_order([t], [t_next])
        table, scale = self._table({number: (0.0, ratio, weight, 1.0)}), self.variable.scale([t_next])
        return Numbers(number, number, table, np.array([[t]]), ratio, scale, self.newest)

    def attempt(self, u: Array, u_next: Array, guidance: Array | None) -> Numbers:
        """A step from u to u_next, each [g]; guidance: [g] scales of a guided pair."""
        tableau = self.tableau
        stages, h = tableau.stages, u_next - u
        c = tableau.c_array[:, None]
        times = self.variable.times(np.where(c == 1.0, u_next, u + c * h))
        ratio, _ = self.variable.first_order(times[0], times)
        scale, slope = self.variable.scale(times), self.variable.slope(times)
        weights = scale[:, None] * h * tableau.a_array[:, :, None] * slope  # [stages, stages, g]
        errors = scale[-1] * h * tableau.error_array[:, None] * slope
        rows: dict[int, tuple[ArrayLike, ...]] = {1: (0.0, ratio[1], weights[1, 0], 1.0)}
        for i in range(1, stages - 1):
            newest_first = weights[i + 1, i::-1]
            rows[i + 1] = (*self._conversion(times[i], guidance), 0.0, ratio[i + 1], *newest_first, 1.0)
        unchanged, nothing = (1.0, *(0.0,) * (stages + 1)), (0.0, 0.0)
        rows[stages] = (*self._conversion(times[-1], guidance), *unchanged, *nothing, *errors[::-1], 1.0)
        return Numbers(1, stages, self._table(rows), times, ratio[-1], scale[-1], self.base)

    def _conversion(self, t: Array, guidance: Array | None) -> tuple[ArrayLike, ...]:
        """p, q of every output, bound and scale."""
        p, q = self.variable.conversion(self.prediction, t)
        mixed = (q,) if guidance is None else (guidance * q, (1.0 - guidance) * q)
        return p, *mixed, np.inf, 1.0

    def _table(self, rows: dict[int, tuple[ArrayLike, ...]]) -> Array:
        """[all rows, g, columns] from scalars and [g]; rows that do not run are zero."""
        columns = {
            number: np.stack(np.broadcast_arrays(*row, np.zeros(1))[:-1], axis=-1) for number, row in rows.items()
        }
        groups = max(len(column) for column in columns.values())
        table = np.zeros((len(self.plan.rows), groups, self.plan.table.shape[-1]))
        for number, column in columns.items():
            table[number, :, : column.shape[1]] = column
        return table


def _first_order(t: float, prediction: HistoryEntry) -> Row:
    return Row(t, Combination(aux=1.0, history=(1.0,)), history=(prediction,), calls=0)
