"""An attempted step as rows of ``genie_ext.fused_step``: one per stage, with one set of numbers per trajectory.

In x = alpha v, with w = dgamma/du and the step's base state in aux, stage i + 1 stands at

    x_(i+1) = (alpha_(i+1) / alpha_0) x_0 + alpha_(i+1) h sum_(j <= i) a_(i+1),j w_j epsilon_j

Row i calls the network at x_i, keeps epsilon_i in slot i and makes x_(i+1); row 0 finds epsilon_0 in its slot, from the
step before. The last row leaves the new state as it is and puts its error estimate, times alpha, into aux.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..numerics import transfer
from ..plan import RowLayout
from ..predictions import to_epsilon
from .path import Path
from .tableau import Tableau

__all__ = ["AttemptRows", "Rows"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class AttemptRows:
    """Rows that run one after another. g is 1 where all samples share the step."""

    layouts: tuple[RowLayout, ...]
    tables: tuple[Array, ...]  # per row [g, columns]
    times: Array  # [rows, g] of the network calls
    ratio: Array  # [g] alpha at the last row / alpha at the base
    alpha: Array  # [g] at the last row


@dataclass(frozen=True)
class Rows:
    """Makes the rows of a run. guidance: [g] scales, which double the network's outputs, or None."""

    path: Path
    prediction: str
    guidance: Array | None

    def evaluation(self, t: float) -> AttemptRows:
        """Epsilon of the base state, kept in slot 0."""
        layout = RowLayout(
            calls=1, outputs=self._outputs, converted=1, history=(), draws=(), store=(0,),
            reads_aux=False, writes_aux=False,
        )  # fmt: skip
        table = _columns(*self._conversion(np.array([t])), 1.0, 0.0, 1.0)
        alpha = self.path.schedule.alpha([t])
        return AttemptRows((layout,), (table,), np.array([[t]]), np.ones_like(alpha), alpha)

    def transfer(self, t: float, t_next: float) -> AttemptRows:
        """The first-order step from the base state with the epsilon in slot 0: no network call."""
        ratio, weight = transfer(self.path.schedule, [t], [t_next])
        table = _columns(0.0, ratio, weight, 1.0)
        return AttemptRows((self._layout(0, 2),), (table,), np.array([[t]]), ratio, self.path.schedule.alpha([t_next]))

    def attempt(self, tableau: Tableau, u: Array, u_next: Array) -> AttemptRows:
        """A step from u to u_next, each [g]."""
        stages, h = tableau.stages, u_next - u
        c = tableau.c[:, None]
        times = self.path.times(np.where(c == 1.0, u_next, u + c * h))
        ratio, _ = transfer(self.path.schedule, times[0], times)
        alpha, slope = self.path.schedule.alpha(times), self.path.slope(times)
        weights = alpha[:, None] * h * tableau.a[:, :, None] * slope  # [stages, stages, g]
        errors = alpha[-1] * h * tableau.error[:, None] * slope
        tables = [_columns(0.0, ratio[1], weights[1, 0], 1.0)]
        for i in range(1, stages - 1):
            newest_first = weights[i + 1, i::-1]
            tables.append(_columns(*self._conversion(times[i]), 0.0, ratio[i + 1], *newest_first, 1.0))
        unchanged, nothing = (1.0, *(0.0,) * (stages + 1)), (0.0, 0.0)
        tables.append(_columns(*self._conversion(times[-1]), *unchanged, *nothing, *errors[::-1], 1.0))
        layouts = tuple(self._layout(i, stages) for i in range(stages))
        return AttemptRows(layouts, tuple(tables), times, ratio[-1], alpha[-1])

    def of(self, samples: NDArray[np.intp]) -> Rows:
        """The same for some of the samples."""
        if self.guidance is None or len(self.guidance) == 1:
            return self
        return Rows(self.path, self.prediction, self.guidance[samples])

    @property
    def _outputs(self) -> int:
        return 1 if self.guidance is None else 2

    def _layout(self, stage: int, stages: int) -> RowLayout:
        called = stage > 0
        return RowLayout(
            calls=int(called), outputs=self._outputs if called else 0, converted=int(called),
            history=tuple(range(stage - 1, -1, -1)) if called else (0,), draws=(), store=(stage,) if called else (),
            reads_aux=True, writes_aux=stage == stages - 1,
        )  # fmt: skip

    def _conversion(self, t: Array) -> tuple[ArrayLike, ...]:
        """p, q of every output, bound and scale."""
        p, q = to_epsilon(self.prediction, self.path.schedule, t)
        mixed = (q,) if self.guidance is None else (self.guidance * q, (1.0 - self.guidance) * q)
        return p, *mixed, np.inf, 1.0


def _columns(*columns: ArrayLike) -> Array:
    """[g, columns] from scalars and [g]."""
    return np.stack(np.broadcast_arrays(*columns, np.zeros(1))[:-1], axis=-1)
