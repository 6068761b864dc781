"""What the solver families share: the rows of a plan, written one network evaluation at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import grids, predictions
from ..plan import Combination, Conversion, Init, Past, Plan, Recipe, Step
from ..schedules import Schedule

__all__ = ["Rows", "Stage", "Update", "checked_grid", "multistep"]

Array = NDArray[np.float64]

_CONVERT = {"epsilon": predictions.to_epsilon, "x0": predictions.to_x0}


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


class Rows:
    """The rows of a plan so far; each converts the network's output to ``quantity`` ("epsilon" or "x0")."""

    def __init__(self, schedule: Schedule, *, prediction: str, quantity: str) -> None:
        self.schedule, self.prediction, self.quantity = schedule, prediction, quantity
        self.steps: list[Step] = []
        self.draws = 0

    @property
    def next(self) -> int:
        """The number of the row that :meth:`add` adds."""
        return len(self.steps)

    def add(
        self,
        time: float,
        outputs: Mapping[int, float],
        *,
        x: float = 0.0,
        kept: float = 0.0,
        noise: float = 0.0,
        keep: bool = False,
    ) -> None:
        """x' = x * state + kept * (the state last kept) + sum of outputs[row] * y_row + noise * z.

        ``keep``: keep the state from before this row.
        """
        row = self.next
        past = sorted((r for r, weight in outputs.items() if r != row and weight != 0.0), reverse=True)
        combination = Combination(
            x=float(x), aux=float(kept), y=(float(outputs.get(row, 0.0)),),
            history=tuple(float(outputs[r]) for r in past), draws=(float(noise),) if noise else (),
        )  # fmt: skip
        kept_state = Combination(x=1.0, y=(0.0,), history=(0.0,) * len(past), draws=(0.0,) if noise else ())
        self.steps.append(
            Step(
                float(time), combination, aux=kept_state if keep else None, converted=(self._conversion(time),),
                history=tuple(map(Past, past)), draws=self._draw(noise),
            )
        )  # fmt: skip

    def add_noise(self, time: float, *, x: float, noise: float) -> None:
        """x' = x * state + noise * z, without an evaluation."""
        self.steps.append(Step(float(time), Combination(x=x, draws=(noise,)), draws=self._draw(noise), calls=0))

    def add_stages(self, stages: Sequence[Stage], *, up: float = 1.0, noise: float = 0.0) -> None:
        """A step of one or more stages; its last state is multiplied by ``up`` and given ``noise`` z."""
        first, last = self.next, self.next + len(stages) - 1
        for row, (time, ratio, weights) in enumerate(stages, start=first):
            scale, draws = (up, noise) if row == last else (1.0, 0.0)
            outputs = {first + j: scale * weight for j, weight in enumerate(weights)}
            state = {"x" if row == first else "kept": scale * ratio}
            self.add(time, outputs, noise=draws, keep=row == first < last, **state)

    def plan(self, name: str, times: Array, options: Mapping[str, object]) -> Plan:
        """The plan of these rows, started from noise of the schedule's scale at the first of ``times``."""
        recipe = Recipe(
            name, self.schedule.to_dict(), tuple(map(float, times)), {**options, "prediction": self.prediction}
        )
        scale = float(self.schedule.sigma(times[0]))
        return Plan(Init(scale), (self.prediction,), self.quantity, tuple(self.steps), recipe)

    def _conversion(self, time: float) -> Conversion:
        p, q = _CONVERT[self.quantity](self.prediction, self.schedule, time)
        return Conversion(float(p), (float(q),))

    def _draw(self, noise: float) -> tuple[int, ...]:
        if not noise:
            return ()
        self.draws += 1
        return (self.draws - 1,)


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
    rows = Rows(schedule, prediction=prediction, quantity=quantity)
    for n, (time, update) in enumerate(zip(times[:-1], updates, strict=True)):
        outputs = {n - j: weight for j, weight in enumerate(update.weights)}
        rows.add(time, outputs, x=update.ratio, noise=update.noise)
    return rows.plan(name, times, options)
