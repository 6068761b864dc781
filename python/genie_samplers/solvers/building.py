"""What the solver families share: the rows of a plan, written one network evaluation at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import grids, predictions
from .._arguments import boolean, real
from ..numerics import transfer, x0_transfer
from ..plan import Combination, Conversion, HistoryEntry, Init, Plan, Recipe, Row, written_schedule
from ..schedules import Remembered, Schedule

__all__ = [
    "EQUAL_STEPS",
    "PlanBuilder",
    "Stage",
    "Update",
    "at_an_end",
    "checked_grid",
    "checked_noise_scale",
    "first_order",
    "first_order_stage",
    "from_pure_noise",
    "multistep",
    "outputs_used",
    "refuse_pure_noise",
    "resolved_lower_order_final",
    "step_orders",
    "sum_or_zero",
]

Array = NDArray[np.float64]

_CONVERT = {"epsilon": predictions.to_epsilon, "x0": predictions.to_x0, "flow": predictions.to_flow}
_NONE: Mapping[int, float] = MappingProxyType({})
_FEW_STEPS = 10
_GIVES_X0 = ("x0", "v", "flow")  # predictions from which x0 follows without cancellation at large gamma
_ROUNDING = 8 * np.finfo(np.float64).eps

EQUAL_STEPS = {
    1: (1.0,),
    2: (3 / 2, -1 / 2),
    3: (23 / 12, -16 / 12, 5 / 12),
    4: (55 / 24, -59 / 24, 37 / 24, -9 / 24),
}
"""Order -> the Adams-Bashforth weights of equal steps, newest first."""


class Update(NamedTuple):
    """A step of one evaluation: x' = ratio x + weights . [y_n, y_{n-1}, ...] + noise z + x0 (the x0 prediction)."""

    ratio: float
    weights: Sequence[float]
    noise: float = 0.0
    x0: float = 0.0


class Stage(NamedTuple):
    """A stage of a step from x_n: evaluate at ``time``, then x = ratio x_n + weights . [y of stage 1, 2, ... this].

    ``x0`` is the weight of the x0 prediction that is made here.
    """

    time: float
    ratio: float
    weights: Sequence[float]
    x0: float = 0.0


def from_pure_noise(schedule: Schedule, t: float) -> bool:
    """Whether alpha(t) = 0, where the state says nothing about the data and a step has order 1, in x0."""
    return bool(schedule.alpha(t) == 0.0)


def at_an_end(schedule: Schedule, t: float, t_next: float) -> bool:
    """Whether the step ends at gamma = 0, or touches gamma = inf: methods with stages make it one of order 1."""
    return t_next == schedule.t_zero or from_pure_noise(schedule, t) or from_pure_noise(schedule, t_next)


def first_order(schedule: Schedule, t: float, t_next: float) -> Update:
    """DDIM's step in epsilon, in x0 from pure noise."""
    if from_pure_noise(schedule, t):
        ratio, x0 = (float(v) for v in x0_transfer(schedule, t, t_next))
        return Update(ratio, (0.0,), x0=x0)
    ratio, weight = (float(v) for v in transfer(schedule, t, t_next))
    return Update(ratio, (weight,))


def first_order_stage(schedule: Schedule, t: float, t_next: float) -> Stage:
    """:func:`first_order` as a stage."""
    update = first_order(schedule, t, t_next)
    return Stage(t, update.ratio, update.weights, update.x0)


def refuse_pure_noise(schedule: Schedule, times: Array, solver: str, instead: str, *, end: bool = False) -> None:
    """ValueError for a grid that starts, or also one that ends, at alpha = 0, where this solver's coefficients have no
    finite limit.
    """
    for place, verb in ((0, "start the grid after"), (-1, "end the grid before"))[: 1 + end]:
        if from_pure_noise(schedule, times[place]):
            raise ValueError(
                f"times[{place}]={times[place]!s} is pure noise, alpha = 0, where {solver} has no finite limit; take "
                f"{instead}, or {verb} it"
            )


def checked_grid(schedule: Schedule, grid: ArrayLike) -> Array:
    """The grid as float64, at least two times, strictly monotone, within the schedule's range."""
    return grids.given(schedule, grid)


class PlanBuilder:
    """The rows of a plan so far; each converts the network's prediction to ``quantity`` ("epsilon", "x0" or "flow").

    ``derivatives``: names of what the network returns after its prediction, read by rows that are given weights for it.

    In a plan of epsilon the newest output enters a row as the x0 prediction wherever that at least halves the sum of
    |coefficient * value|: at large gamma epsilon's row subtracts two terms of the size of gamma, which costs float32 up
    to four digits (docs/numerics.md). v, flow and x0 networks give that x0 without cancellation; an epsilon network
    does not, and keeps its row. The history stays epsilon.
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
        x0: float = 0.0,
        keep: bool = False,
    ) -> None:
        """x' = x * state + kept * (the state last kept) + sum of outputs[row] * y_row + noise * z + x0 * (its own x0).

        ``derivatives``: weights like ``outputs``, of the derivative that a row makes of the network's further outputs
        by the weights ``derivative``; without these it makes none. ``keep``: keep the state from before this row.
        """
        row, conversions = self.next, (self._conversion(self.quantity, time),)
        weights = {HistoryEntry(r, h): float(w) for h, of in enumerate((outputs, derivatives)) for r, w in of.items()}
        if derivative:
            conversions += (Conversion(0.0, (0.0, *map(float, derivative))),)
        elif self.quantity == "x0":
            weights[HistoryEntry(row)] = weights.get(HistoryEntry(row), 0.0) + x0
            x0 = 0.0
        elif self.quantity == "epsilon":
            x, weights[HistoryEntry(row)], x0 = self._conditioned(time, x, weights.get(HistoryEntry(row), 0.0), x0)
        if x0:
            conversions += (self._conversion("x0", time),)
        history = sorted((e for e, weight in weights.items() if e.row != row and weight != 0.0), key=_newest_first)
        newest = [weights.get(HistoryEntry(row, h), 0.0) for h in range(len(conversions))]
        if x0:
            newest[-1] = x0
        combination = Combination(
            x=float(x), aux=float(kept), y=tuple(newest),
            history=tuple(weights[entry] for entry in history), draws=(float(noise),) if noise else (),
        )  # fmt: skip
        kept_state = None
        if keep:
            kept_state = Combination(
                x=1.0, y=(0.0,) * len(conversions), history=(0.0,) * len(history), draws=(0.0,) if noise else ()
            )
        self.rows.append(
            Row(
                float(time), combination, aux=kept_state, converted=conversions,
                history=tuple(history), draws=self._draw(noise),
            )
        )  # fmt: skip

    def add_analytic(self, time: float, t_next: float) -> None:
        """DDIM's step without an evaluation, on what N(0, 1) noise of the state's scale predicts.

        epsilon = x / sqrt(alpha^2 + sigma^2), the normalised state itself, or the x_0 that belongs to it; later rows
        may read it. Both multiply the state, which has one coefficient in the step, of terms that do not cancel.
        """
        alpha, sigma = float(self.schedule.alpha(time)), float(self.schedule.sigma(time))
        scale = float(np.hypot(alpha, sigma))
        of_x0 = alpha / (scale * (scale + sigma))  # x_0 / x
        ratio, weight = (float(v) for v in x0_transfer(self.schedule, time, t_next))
        p = 1.0 / scale if self.quantity == "epsilon" else of_x0
        combination = Combination(x=ratio + weight * of_x0, y=(0.0,))
        self.rows.append(Row(float(time), combination, converted=(Conversion(p, ()),), calls=0))

    def add_first_order(self, time: float, t_next: float) -> None:
        """DDIM's step: what every method makes from pure noise."""
        step = first_order(self.schedule, time, t_next)
        self.add(time, {self.next: step.weights[0]}, x=step.ratio, x0=step.x0)

    def add_noise(self, time: float, *, x: float, noise: float) -> None:
        """x' = x * state + noise * z, without an evaluation."""
        self.rows.append(Row(float(time), Combination(x=x, draws=(noise,)), draws=self._draw(noise), calls=0))

    def add_stages(self, stages: Sequence[Stage], *, up: float = 1.0, noise: float = 0.0) -> None:
        """A step of one or more stages; its last state is multiplied by ``up`` and given ``noise`` z."""
        first, last = self.next, self.next + len(stages) - 1
        for row, (time, ratio, weights, x0) in enumerate(stages, start=first):
            scale, draws = (up, noise) if row == last else (1.0, 0.0)
            outputs = {first + j: scale * weight for j, weight in enumerate(weights)}
            x, kept = (scale * ratio, 0.0) if row == first else (0.0, scale * ratio)
            self.add(time, outputs, x=x, kept=kept, noise=draws, x0=scale * x0, keep=row == first < last)

    def plan(self, name: str, times: Array, options: Mapping[str, object]) -> Plan:
        """The plan of these rows, started from noise of the schedule's scale at the first of ``times``."""
        known = self.schedule.schedule if isinstance(self.schedule, Remembered) else self.schedule
        grid = tuple(map(float, times))
        recipe = Recipe(name, written_schedule(known), grid, {**options, "prediction": self.outputs[0]})
        scale = float(self.schedule.sigma(times[0]))
        return Plan(Init(scale), self.outputs, self.quantity, tuple(self.rows), recipe)

    def _conversion(self, quantity: str, time: float) -> Conversion:
        p, q = _CONVERT[quantity](self.outputs[0], self.schedule, time)
        return Conversion(float(p), (float(q), *(0.0 for _ in self.outputs[1:])))

    def _conditioned(self, time: float, x: float, weight: float, x0: float) -> tuple[float, float, float]:
        """The weights of the state, of epsilon and of x0, with epsilon = (x - alpha x0) / sigma where that is better.

        Compared are the sums of |coefficient * value| for data of unit variance.
        """
        alpha, sigma = float(self.schedule.alpha(time)), float(self.schedule.sigma(time))
        if x0 or weight == 0.0 or sigma == 0.0 or alpha == 0.0 or self.outputs[0] not in _GIVES_X0:
            return x, weight, x0
        size = float(np.hypot(alpha, sigma))
        output = {"v": size, "flow": np.sqrt(2.0), "x0": 1.0}[self.outputs[0]]

        def total(state: float, of: float, quantity: str) -> float:
            p, q = (float(v) for v in _CONVERT[quantity](self.outputs[0], self.schedule, time))
            return abs(state) * size + abs(of) * (abs(p) * size + abs(q) * output)

        state, of_x0 = sum_or_zero(x, weight * (1.0 / sigma)), weight * (-alpha / sigma)
        better = 2.0 * total(state, of_x0, "x0") <= total(x, weight, "epsilon")
        return (state, 0.0, of_x0) if better else (x, weight, 0.0)

    def _draw(self, noise: float) -> tuple[int, ...]:
        if not noise:
            return ()
        self.draws += 1
        return (self.draws - 1,)


def sum_or_zero(a: float, b: float) -> float:
    """a + b, 0 where nothing but rounding is left: the state has no part in a step to gamma = 0."""
    total = a + b
    return 0.0 if abs(total) <= _ROUNDING * max(abs(a), abs(b)) else total


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
        builder.add(time, outputs, x=update.ratio, noise=update.noise, x0=update.x0)
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
    """At most n + 1 in step n, with ``lower_order_final`` at most N - n, and 1 in a step to gamma = 0 or gamma = inf.

    A first output at gamma = inf is no node of a polynomial in log gamma: at most n in step n > 0 then.
    """
    count, lost = len(times) - 1, int(from_pure_noise(schedule, times[0]))
    orders = [min(order, max(1, n + 1 - lost), count - n if lower_order_final else order) for n in range(count)]
    at_end = times[-1] == schedule.t_zero or from_pure_noise(schedule, times[-1])
    return [*orders[:-1], 1] if at_end else orders


def resolved_lower_order_final(choice: bool | None, times: Array) -> bool:
    """The published rule where the caller has no choice: yes with fewer than 10 steps."""
    return len(times) - 1 < _FEW_STEPS if choice is None else boolean(choice, "lower_order_final")


def outputs_used(most: int, n: int, *, gradual: bool) -> int:
    """How many outputs step n combines while the history fills: all there are, or "gradual", 1, 2, 2, 2, 3, 3, 4, .."""
    return min(most, n + 1, max(2, n // 2 + 1)) if gradual else min(most, n + 1)
