"""An attempted step as a plan: its rows once, with one set of numbers per trajectory and attempt.

In x = alpha v, with w = dgamma/du and the step's base state in aux, stage i + 1 stands at

    x_(i+1) = (alpha_(i+1) / alpha_0) x_0 + alpha_(i+1) h sum_(j <= i) a_(i+1),j w_j epsilon_j

Row 0 evaluates epsilon_0 at the base state. Row 1 makes x_1 of it, for the step before may have left it. Row i + 1
calls the network at x_i and makes x_(i+1); the last of them leaves the new state as it is and puts its error estimate,
times alpha, into aux. One row more makes the first-order step from the new state with the newest epsilon.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..numerics import Tableau, transfer
from ..plan import Combination, Conversion, HistoryEntry, Init, Plan, Row
from ..predictions import to_epsilon
from .step_variable import StepVariable

__all__ = ["AttemptPlan", "Numbers"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Numbers:
    """Of the rows ``first`` to ``last`` of an :class:`AttemptPlan`; g is 1 where all samples share the step.

    table: [all rows, g, columns]. times: [rows that run, g]. ratio: [g] alpha at the last row / alpha at the base;
    alpha: [g] at the last row. known: whose epsilon is that of the base state, None where the first row evaluates it.
    """

    first: int
    last: int
    table: Array
    times: Array
    ratio: Array
    alpha: Array
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
        """Epsilon of the base state."""
        return HistoryEntry(0)

    @property
    def newest(self) -> HistoryEntry:
        """Epsilon of the new state: first same as last."""
        return HistoryEntry(self.tableau.stages)

    @cached_property
    def plan(self) -> Plan:
        """The rows; of their numbers only which are there counts."""
        stages, t = self.tableau.stages, self.variable.t_start
        epsilon = (Conversion(1.0, (1.0,)),)
        rows = [
            Row(t, Combination(1.0, y=(1.0,)), aux=Combination(1.0, y=(1.0,)), converted=epsilon),
            _first_order(t, self.base),
        ]
        for stage in range(1, stages):
            earlier = tuple(HistoryEntry(row) for row in (*range(stage, 1, -1), 0))
            terms = Combination(1.0, 1.0, y=(1.0,), history=(1.0,) * stage)
            last = stage == stages - 1
            rows.append(Row(t, terms, aux=terms if last else None, converted=epsilon, history=earlier))
        rows.append(_first_order(t, self.newest))
        scale = float(self.variable.schedule.sigma(t))
        plan = Plan(Init(scale), (self.prediction,), "epsilon", tuple(rows))
        return plan.guided(1.0) if self.guided else plan

    def evaluation(self, t: float, guidance: Array | None) -> Numbers:
        """Epsilon of the base state."""
        row = (*self._conversion(np.array([t]), guidance), 1.0, 0.0, 1.0, 0.0, 1.0)
        alpha = self.variable.schedule.alpha([t])
        return Numbers(0, 0, self._table({0: row}), np.array([[t]]), np.ones_like(alpha), alpha, None)

    def transfer(self, t: float, t_next: float) -> Numbers:
        """The first-order step from the base state with its known epsilon: no network call."""
        number = self.tableau.stages + 1
        ratio, weight = transfer(self.variable.schedule, [t], [t_next])
        table, alpha = self._table({number: (0.0, ratio, weight, 1.0)}), self.variable.schedule.alpha([t_next])
        return Numbers(number, number, table, np.array([[t]]), ratio, alpha, self.newest)

    def attempt(self, u: Array, u_next: Array, guidance: Array | None) -> Numbers:
        """A step from u to u_next, each [g]; guidance: [g] scales of a guided pair."""
        tableau, schedule = self.tableau, self.variable.schedule
        stages, h = tableau.stages, u_next - u
        c = tableau.c_array[:, None]
        times = self.variable.times(np.where(c == 1.0, u_next, u + c * h))
        ratio, _ = transfer(schedule, times[0], times)
        alpha, slope = schedule.alpha(times), self.variable.slope(times)
        weights = alpha[:, None] * h * tableau.a_array[:, :, None] * slope  # [stages, stages, g]
        errors = alpha[-1] * h * tableau.error_array[:, None] * slope
        rows: dict[int, tuple[ArrayLike, ...]] = {1: (0.0, ratio[1], weights[1, 0], 1.0)}
        for i in range(1, stages - 1):
            newest_first = weights[i + 1, i::-1]
            rows[i + 1] = (*self._conversion(times[i], guidance), 0.0, ratio[i + 1], *newest_first, 1.0)
        unchanged, nothing = (1.0, *(0.0,) * (stages + 1)), (0.0, 0.0)
        rows[stages] = (*self._conversion(times[-1], guidance), *unchanged, *nothing, *errors[::-1], 1.0)
        return Numbers(1, stages, self._table(rows), times, ratio[-1], alpha[-1], self.base)

    def _conversion(self, t: Array, guidance: Array | None) -> tuple[ArrayLike, ...]:
        """p, q of every output, bound and scale."""
        p, q = to_epsilon(self.prediction, self.variable.schedule, t)
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


def _first_order(t: float, epsilon: HistoryEntry) -> Row:
    return Row(t, Combination(aux=1.0, history=(1.0,)), history=(epsilon,), calls=0)
