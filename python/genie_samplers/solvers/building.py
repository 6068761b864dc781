"""What the solver families share: the rows of a plan, written one network evaluation at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import grids, predictions
from .._arguments import boolean, real
from ..plan import Combination, Conversion, HistoryEntry, Init, Plan, Recipe, Row
from ..schedules import Schedule

__all__ = [
    "EQUAL_STEPS",
    "PlanBuilder",
    "Stage",
    "Update",
    "checked_grid",
    "checked_noise_scale",
    "multistep",
    "outputs_used",
    "resolved_lower_order_final",
    "step_orders",
]

Array = NDArray[np.float64]

_CONVERT = {"epsilon": predictions.to_epsilon, "x0": predictions.to_x0}
_NONE: Mapping[int, float] = MappingProxyType({})
_FEW_STEPS = 10

EQUAL_STEPS = {
    1: (1.0,),
    2: (3 / 2, -1 / 2),
    3: (23 / 12, -16 / 12, 5 / 12),
    4: (55 / 24, -59 / 24, 37 / 24, -9 / 24),
}
"""Order -> the Adams-Bashforth weights of equal steps, newest first."""


class Update(NamedTuple):
    """A step of one evaluation: x' = ratio x + weights . [y_n, y_{n-1}, ...] + noise z."""

    ratio: float
    weights: Sequence[float]
    noise: float = 0.0


class Stage(NamedTuple):
    """A stage of a step from x_n: evaluate at ``time``, then x = ratio x_n + weights . [y of stage 1, 2, ... this]."""

    time: float
    ratio: float
    weights: Sequence[float]


def checked_grid(schedule: Schedule, grid: ArrayLike) -> Array:
    """The grid as float64, at least two times, strictly monotone, within the schedule's range."""
    return grids.given(schedule, grid)


class PlanBuilder:
    """The rows of a plan so far; each converts the network's prediction to ``quantity`` ("epsilon" or "x0").

    ``derivatives``: names of what the network returns after its prediction, read by rows that are given weights for it.
    """

    def __init__(
        self, schedule: Schedule, *, prediction: str, quantity: str, derivatives: tuple[str, ...] = ()
    ) -> None:
        self.schedule, self.quantity = schedule, quantity
        self.outputs = (prediction, *derivatives)
        self.rows: list[Row] = []
        self.draws = 0

    @property
    def next(self) -> int:
        """The number of the row that :meth:`add` adds."""
        return len(self.rows)

    def add(
        self,
        time: float,
        outputs: Mapping[int, float],
        *,
        derivatives: Mapping[int, float] = _NONE,
        derivative: Sequence[float] = (),
        x: float = 0.0,
        kept: float = 0.0,
        noise: float = 0.0,
        keep: bool = False,
    ) -> None:
        """x' = x * state + kept * (the state last kept) + sum of outputs[row] * y_row + noise * z.

        ``derivatives``: weights like ``outputs``, of the derivative that a row makes of the network's further outputs
        by the weights ``derivative``; without these it makes none. ``keep``: keep the state from before this row.
        """
        row, conversions = self.next, (self._conversion(time),)
        if derivative:
            conversions += (Conversion(0.0, (0.0, *map(float, derivative))),)
        weights = {HistoryEntry(r, h): float(w) for h, of in enumerate((outputs, derivatives)) for r, w in of.items()}
        history = sorted((e for e, weight in weights.items() if e.row != row and weight != 0.0), key=_newest_first)
        combination = Combination(
            x=float(x), aux=float(kept),
            y=tuple(weights.get(HistoryEntry(row, h), 0.0) for h in range(len(conversions))),
            history=tuple(weights[entry] for entry in history), draws=(float(noise),) if noise else (),
        )  # fmt: skip
        kept_state = Combination(
            x=1.0, y=(0.0,) * len(conversions), history=(0.0,) * len(history), draws=(0.0,) if noise else ()
        )
        self.rows.append(
            Row(
                float(time), combination, aux=kept_state if keep else None, converted=conversions,
                history=tuple(history), draws=self._draw(noise),
            )
        )  # fmt: skip

    def add_analytic(self, time: float, weight: float, *, x: float) -> None:
        """x' = x * state + weight * y without an evaluation: y is what N(0, 1) noise of the state's scale predicts.

        epsilon = x / sqrt(alpha^2 + sigma^2), the normalised state itself, or the x_0 that belongs to it.
        """
        alpha, sigma = float(self.schedule.alpha(time)), float(self.schedule.sigma(time))
        scale = float(np.hypot(alpha, sigma))
        p = 1.0 / scale if self.quantity == "epsilon" else alpha / (scale * (scale + sigma))
        self.rows.append(
            Row(float(time), Combination(x=float(x), y=(float(weight),)), converted=(Conversion(p, ()),), calls=0)
        )

    def add_noise(self, time: float, *, x: float, noise: float) -> None:
        """x' = x * state + noise * z, without an evaluation."""
        self.rows.append(Row(float(time), Combination(x=x, draws=(noise,)), draws=self._draw(noise), calls=0))

    def add_stages(self, stages: Sequence[Stage], *, up: float = 1.0, noise: float = 0.0) -> None:
        """A step of one or more stages; its last state is multiplied by ``up`` and given ``noise`` z."""
        first, last = self.next, self.next + len(stages) - 1
        for row, (time, ratio, weights) in enumerate(stages, start=first):
            scale, draws = (up, noise) if row == last else (1.0, 0.0)
            outputs = {first + j: scale * weight for j, weight in enumerate(weights)}
            x, kept = (scale * ratio, 0.0) if row == first else (0.0, scale * ratio)
            self.add(time, outputs, x=x, kept=kept, noise=draws, keep=row == first < last)

    def plan(self, name: str, times: Array, options: Mapping[str, object]) -> Plan:
        """The plan of these rows, started from noise of the schedule's scale at the first of ``times``."""
        recipe = Recipe(
            name, self.schedule.to_dict(), tuple(map(float, times)), {**options, "prediction": self.outputs[0]}
        )
        scale = float(self.schedule.sigma(times[0]))
        return Plan(Init(scale), self.outputs, self.quantity, tuple(self.rows), recipe)

    def _conversion(self, time: float) -> Conversion:
        p, q = _CONVERT[self.quantity](self.outputs[0], self.schedule, time)
        return Conversion(float(p), (float(q), *(0.0 for _ in self.outputs[1:])))

    def _draw(self, noise: float) -> tuple[int, ...]:
        if not noise:
            return ()
        self.draws += 1
        return (self.draws - 1,)


def _newest_first(entry: HistoryEntry) -> tuple[int, int]:
    return -entry.row, entry.h


def multistep(
    name: str,
    schedule: Schedule,
    times: Array,
    updates: Iterable[Update],
    *,
    prediction: str,
    quantity: str,
    options: Mapping[str, object],
) -> Plan:
    """The plan of one evaluation and one update per step; its weights belong to the newest output first."""
    builder = PlanBuilder(schedule, prediction=prediction, quantity=quantity)
    for n, (time, update) in enumerate(zip(times[:-1], updates, strict=True)):
        outputs = {n - j: weight for j, weight in enumerate(update.weights)}
        builder.add(time, outputs, x=update.ratio, noise=update.noise)
    return builder.plan(name, times, options)


def checked_noise_scale(noise_scale: float, times: Array) -> float:
    """The noise scale of a family of reverse SDEs that share their marginals: 0 is the ODE, 1 Anderson's reverse SDE.

    ValueError unless finite, not negative, and 0 on a rising grid.
    """
    scale = real(noise_scale, "noise_scale")
    if not 0.0 <= scale < np.inf:
        raise ValueError(f"noise_scale={scale}; need a finite number >= 0")
    if scale > 0.0 and times[1] > times[0]:
        raise ValueError(f"noise_scale={scale} on a rising grid; encoding is deterministic, so use noise_scale=0")
    return scale


def step_orders(schedule: Schedule, times: Array, order: int, *, lower_order_final: bool) -> list[int]:
    """At most n + 1 in step n, with ``lower_order_final`` at most N - n, and 1 in a step to gamma = 0."""
    count = len(times) - 1
    orders = [min(order, n + 1, count - n if lower_order_final else order) for n in range(count)]
    return [*orders[:-1], 1] if times[-1] == schedule.t_zero else orders


def resolved_lower_order_final(choice: bool | None, times: Array) -> bool:
    """The published rule where the caller has no choice: yes with fewer than 10 steps."""
    return len(times) - 1 < _FEW_STEPS if choice is None else boolean(choice, "lower_order_final")


def outputs_used(most: int, n: int, *, gradual: bool) -> int:
    """How many outputs step n combines while the history fills: all there are, or "gradual", 1, 2, 2, 2, 3, 3, 4, .."""
    return min(most, n + 1, max(2, n // 2 + 1)) if gradual else min(most, n + 1)
