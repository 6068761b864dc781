"""A deterministic multistep plan in the numbers that are calibrated."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import predictions
from ..numerics import transfer, x0_transfer
from ..plan import Plan, Recipe
from ..schedules import Schedule

__all__ = ["Start", "start_of"]

Array = NDArray[np.float64]

_TRANSFER = {"epsilon": transfer, "x0": x0_transfer}
_CONVERT = {"epsilon": predictions.to_epsilon, "x0": predictions.to_x0}
_EXACT = 1e-9


@dataclass(frozen=True)
class Start:
    """``plan`` as exact transfers and weights: with y the network's prediction as epsilon or x0 (``quantity``),

        x_{i+1} = A_i x_i + B_i (sum_j weights[i, j, 0] y_j + sum_j weights[i, j, 1] d_j),    j <= i,

    A and B of :func:`numerics.transfer` or :func:`numerics.x0_transfer`, and d_j = mixtures[j] . (the network's
    further outputs), if it has any. times: of the states, [N + 1], while the network is told those of the plan's rows;
    weights: [N, N, 1 or 2]; mixtures: [N, outputs - 1].
    """

    plan: Plan
    recipe: Recipe
    quantity: str
    times: Array
    weights: Array
    mixtures: Array

    @property
    def schedule(self) -> Schedule:
        return self.plan.schedule

    def transfer(self, t: float, t_next: float) -> tuple[float, float]:
        """A and B between two times."""
        ratio, scale = _TRANSFER[self.quantity](self.schedule, t, t_next)
        return float(ratio), float(scale)

    def conversion(self, t: float) -> tuple[float, float]:
        """(p, q) of y = p x + q (the network's prediction)."""
        p, q = _CONVERT[self.quantity](self.plan.outputs[0], self.schedule, t)
        return float(p), float(q)


def start_of(plan: Plan) -> Start:
    """The plan in these numbers; ValueError that names the reason and a fix for one that they cannot say."""
    recipe = plan.recipe
    if recipe is None or not plan.is_table or plan.stochastic or plan.rising:
        raise ValueError(
            "start: a plan without recipe, of operators or gains, with noise, or that encodes; take one of a "
            "deterministic solver from make_plan"
        )
    if plan.guidance is not None:
        raise ValueError(f"start: guided by {plan.guidance}; pass the plan without guidance, and guidance= beside it")
    if any(math.isfinite(c.bound) for row in plan.rows for c in row.converted):
        raise ValueError(f"start: {recipe.solver} clamps its predictions, which has no gradient; leave clip out")
    if any(row.calls == 0 for row in plan.rows):
        raise ValueError(f"start: {recipe.solver} has a row that asks no network; leave afs out")
    of_grid = len(recipe.grid) == len(plan.rows) + 1  # else a step has several rows
    times = np.array(recipe.grid if of_grid else [*plan.times, recipe.grid[-1]])
    if not np.all(np.diff(times) < 0.0):
        raise ValueError(
            f"start: {recipe.solver} asks the network twice at one time; take a multistep solver such as deis_tab2, "
            "ipndm2 or unipc2"
        )
    quantity = "x0" if plan.quantity == "x0" or plan.schedule.starts_in_pure_noise else "epsilon"
    mixtures = _mixtures(plan)
    start = Start(plan, recipe, quantity, times, np.zeros(0), mixtures)
    return Start(plan, recipe, quantity, times, _weights(start), mixtures)


def _mixtures(plan: Plan) -> Array:
    """What the second conversion of every row, where it is no x0, makes of the further outputs."""
    mixtures = np.zeros((len(plan.rows), len(plan.outputs) - 1))
    for mixture, row in zip(mixtures, plan.rows, strict=True):
        if len(row.converted) == 2 and row.x0 is None:
            further = row.converted[1].q[1:]
            mixture[: len(further)] = further
    return mixtures


def _weights(start: Start) -> Array:
    """Every state in the basis (x_T, y_0, y_1, .., d_0, d_1, ..) less what the transfer carries over, in parts of B."""
    linear, times, count = start.plan.unrolled(), start.times, len(start.plan.rows)
    kinds = min(2, len(start.plan.outputs))
    states = np.zeros((count + 1, 1 + kinds * count))
    states[0, 0] = 1.0
    weights = np.zeros((count, count, kinds))
    for i in range(count):
        states[i + 1, 0] = linear.state[i + 1]
        for j in range(i + 1):
            p, q = start.conversion(start.plan.times[j])
            of_y = linear.output[i + 1, j, 0] / q  # out = (y - p x) / q
            states[i + 1] -= of_y * p * states[j]
            states[i + 1, 1 + j] += of_y
            if start.mixtures[j].any():
                largest = int(np.argmax(np.abs(start.mixtures[j])))
                states[i + 1, 1 + count + j] += linear.output[i + 1, j, 1 + largest] / start.mixtures[j, largest]
        ratio, scale = start.transfer(times[i], times[i + 1])
        left = states[i + 1] - ratio * states[i]
        if abs(left[0]) > _EXACT * np.abs(linear.state).max():
            raise ValueError(
                f"start: {start.recipe.solver} is not exact on data of one point; take a solver that is, such as "
                "deis_tab2"
            )
        weights[i] = (left[1:] / scale).reshape(kinds, count).T
    return weights
