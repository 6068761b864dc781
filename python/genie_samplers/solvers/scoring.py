"""How far a plan is from the exact probability flow of known data, reckoned on the host without a network."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..plan import Combination, Plan, Row
from ..schedules import Schedule
from .exact_data import IMAGES, MIXTURES, Answer, Marginal, Mixtures, Spectrum, prediction_of

__all__ = ["Score", "follow", "gaussian_score", "grid_of", "mixture_error", "score"]

Array = NDArray[np.float64]
_ROUGHNESS, _FEW, _X0 = 0.005, 5, 150.0
Asked = Callable[[int, Row, Array], list[Array]]  # the evaluation's number, its row, the state -> the outputs


class Score(NamedTuple):
    """error: root mean square of what the plan makes minus the exact flow, per unit of alpha.

    response: root of the sum over evaluations of the squared response of the result to a disturbance of the network's
    epsilon by 1, of its x0 by at most 150; root mean square over the modes: how much a network's own errors count.
    """

    error: float
    response: float

    def total(self, nfe: int) -> float:
        """The error with that of a network beside it, whose disturbances matter where steps are long.

        0.005 of epsilon up to 5 evaluations, then 0.005 (5 / nfe)^2, and at most 0.75 of x0: measured (docs/auto.md).
        """
        return math.hypot(self.error, _ROUGHNESS * min(1.0, _FEW / nfe) ** 2 * self.response)


def score(plan: Plan, schedule: Schedule) -> Score:
    """Of a plan that samples: the errors on Gaussian :data:`IMAGES` and on :data:`MIXTURES`, squared and added.

    A stochastic plan has no path to compare and is scored by the deviation of its Gaussian samples, one that reads
    derivatives on Gaussian data alone. inf where the result is not finite.
    """
    gaussian = gaussian_score(plan, schedule, IMAGES)
    if plan.stochastic or len(plan.outputs) > 1 or not np.isfinite(gaussian.error):
        return gaussian
    return gaussian._replace(error=float(np.hypot(gaussian.error, mixture_error(plan, schedule, MIXTURES))))


def gaussian_score(plan: Plan, schedule: Schedule, data: Spectrum) -> Score:
    """Every state is affine in the latent z, in 1, the draws and the disturbances, whose coefficients are followed.

    On the exact flow x - alpha mean keeps its ratio to sqrt(alpha^2 v + sigma^2).
    """
    v, shares = np.array(data.variances), np.array(data.shares)
    draws = sum(len(row.draws) for row in plan.rows)
    drawn = np.arange(2, 2 + draws)
    disturbed = np.arange(2 + draws, 2 + draws + plan.nfe)

    def ask(number: int, row: Row, x: Array) -> list[Array]:
        at = Marginal.at(schedule, row.time)
        outputs = _gaussian_outputs(plan, row, at, v[:, None], data.mean, x)
        outputs[0][:, disturbed[number]] += _disturbance(plan.outputs[0], at)
        return outputs

    x = np.zeros((len(v), 2 + draws + plan.nfe))
    x[:, 0] = plan.init.scale
    with np.errstate(over="ignore", invalid="ignore"):
        last = follow(plan, x, ask, [np.eye(x.shape[1])[column] for column in drawn])
        start, end = (Marginal.at(schedule, t) for t in (grid_of(plan)[0], grid_of(plan)[-1]))
        ratio = np.sqrt(end.alpha**2 * v + end.sigma**2) / np.sqrt(start.alpha**2 * v + start.sigma**2)
        reached = np.sqrt(np.square(last[:, [0, *drawn]]).sum(axis=1)) if plan.stochastic else last[:, 0]
        missed = (reached - plan.init.scale * ratio) ** 2
        missed += (last[:, 1] - data.mean * (end.alpha - ratio * start.alpha)) ** 2
        error = float(np.sqrt(shares @ missed)) / end.alpha
        response = float(np.sqrt(shares @ np.square(last[:, disturbed]).sum(axis=1))) / end.alpha
    return Score(_finite(error), _finite(response))


def mixture_error(plan: Plan, schedule: Schedule, data: Mixtures) -> float:
    """Root mean square over sizes and latents, of a plan that reads predictions alone and draws nothing."""

    def ask(_: int, row: Row, x: Array) -> list[Array]:
        at = Marginal.at(schedule, row.time)
        return [prediction_of(plan.outputs[0], at, data.answer(at, x))]

    x = data.start * plan.init.scale
    ends = (grid_of(plan)[0], grid_of(plan)[-1])
    start, end = (Marginal.at(schedule, t) for t in ends)
    exact = schedule.remember((data, plan.init.scale, *ends), lambda: data.flow(start, end, x))
    with np.errstate(all="ignore"):
        missed = np.square(follow(plan, x, ask, ()) - exact).mean(axis=1)
        return _finite(float(np.sqrt(np.array(data.shares) @ missed)) / end.alpha)


def grid_of(plan: Plan) -> tuple[float, ...]:
    """The times of the plan's recipe; ValueError without one."""
    if plan.recipe is None:
        raise ValueError("plan: has no recipe that says its times; make it with make_plan or a solver function")
    return plan.recipe.grid


def _finite(value: float) -> float:
    return value if np.isfinite(value) else np.inf


def _gaussian_outputs(plan: Plan, row: Row, at: Marginal, v: Array, mean: float, x: Array) -> list[Array]:
    """Of the exact network: the prediction, and the derivatives of epsilon along the flow that the row reads."""
    variance = at.alpha**2 * v + at.sigma**2
    away = x.copy()
    away[:, 1] -= at.alpha * mean
    epsilon, x0 = at.sigma / variance * away, at.alpha * v / variance * away
    x0[:, 1] += mean
    rate = at.alpha**2 * v / variance  # epsilon is gamma / sqrt(v + gamma^2) times what the flow keeps
    further = {"gamma_d_epsilon": rate * epsilon, "gamma2_d2_epsilon": -3.0 * (1.0 - rate) * rate * epsilon}
    prediction = np.array(prediction_of(plan.outputs[0], at, Answer(epsilon, x0)))
    return [prediction, *(further[name] for name in plan.outputs[1 : row.outputs])]


def _disturbance(prediction: str, at: Marginal) -> float:
    """Of an output, the state as it is, by 1 in epsilon or, at large gamma, by :data:`_X0` in x0."""
    per = 1.0 / math.hypot(at.alpha, at.sigma / _X0)  # epsilon / alpha
    return {
        "epsilon": lambda: at.alpha * per,
        "x0": lambda: -at.sigma * per,
        "v": lambda: (at.alpha**2 + at.sigma**2) * per,
        "score": lambda: -at.alpha / at.sigma * per,
        "flow": lambda: (at.alpha + at.sigma) * per,
    }[prediction]()


def follow(plan: Plan, x: Array, ask: Asked, draws: Sequence[Array]) -> Array:
    """The last state of the plan's rows from ``x``; ``ask`` stands for the network. ValueError unless it is a table."""
    if not plan.is_table:
        raise ValueError("plan: applies operators or computes gains, which no reckoning on the host knows; run it")
    aux, made, number = x, list[list[Array]](), 0
    for row in plan.rows:
        outputs = ask(number, row, x) if row.calls else []
        number += row.calls > 0
        made.append([_sum([(c.p, x), *zip(c.q, outputs, strict=False)]) for c in row.converted])
        terms = [*made[-1], *(made[entry.row][entry.h] for entry in row.history), *(draws[d] for d in row.draws)]
        x, aux = _combined(row.x, x, aux, terms), aux if row.aux is None else _combined(row.aux, x, aux, terms)
    return x


def _combined(weights: Combination, x: Array, aux: Array, terms: Sequence[Array]) -> Array:
    return _sum(zip(weights.flat(with_aux=True), (x, aux, *terms), strict=True))


def _sum(terms: object) -> Array:
    total: Array | float = 0.0
    for weight, value in terms:  # type: ignore[attr-defined]
        if weight:
            total = total + weight * value
    return np.asarray(total)
