"""What a plan makes of Gaussian data with a known power spectrum: every frequency is a scalar of its own."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._arguments import reals
from ..plan import Plan, Row
from ..solvers.exact_data import Answer, Marginal, prediction_of
from ..solvers.scoring import follow, grid_of

__all__ = ["Response", "checked_spectrum", "final_variances", "response", "target_variances"]

Array = NDArray[np.float64]

_UNIFORM = math.sqrt(1.0 / 12.0)  # the deviation of the uniform distribution on [0, 1)
_MOST = 2**25  # numbers that are followed at once, a quarter of a GiB


class Response(NamedTuple):
    """The last state of each mode as a linear function: state [...] of a start of variance one, draws [..., D].

    The start's own scale is in ``state``; of uniform noise, whose mean is not 0, it is that of its deviation.
    """

    state: Array
    draws: Array


def response(plan: Plan, spectrum: ArrayLike) -> Response:
    """Of the modes of Gaussian data with these variances, any shape, when the exact network answers.

    D: the plan's draws, in their order. ValueError for a plan that clamps or reads derivatives: not linear in the
    state, or no prediction.
    """
    variances = checked_spectrum(spectrum)
    _check_linear(plan)
    distinct, place = np.unique(variances, return_inverse=True)
    count = sum(len(row.draws) for row in plan.rows)
    size = max(1, _MOST // ((1 + count) * len(plan.rows)))
    parts = [_followed(plan, distinct[n : n + size], count) for n in range(0, len(distinct), size)]
    coefficients = np.concatenate(parts)[place.reshape(variances.shape)]
    return Response(coefficients[..., 0], coefficients[..., 1:])


def final_variances(plan: Plan, spectrum: ArrayLike, squared_gains: ArrayLike | None = None) -> Array:
    """The variance of each mode of what the plan makes, of the shape of ``spectrum``.

    squared_gains: of each draw and mode, [D, ...], 1 by default. ValueError for other shapes, inf, NaN and negative
    numbers.
    """
    found = response(plan, spectrum)
    powers = found.draws**2
    if squared_gains is not None:
        powers = powers * np.moveaxis(_checked_squares(squared_gains, found.draws.shape), 0, -1)
    return found.state**2 + powers.sum(axis=-1)


def _checked_squares(squared_gains: ArrayLike, draws: tuple[int, ...]) -> Array:
    """draws: shape of the response, [..., D]."""
    squares, need = reals(squared_gains, "squared_gains"), (draws[-1], *draws[:-1])
    if squares.shape != need:
        raise ValueError(f"squared_gains has shape {squares.shape}; need {need}, of each draw of the plan and mode")
    if not np.isfinite(squares).all() or squares.min(initial=0.0) < 0.0:
        raise ValueError("squared_gains: holds inf, NaN or a negative number; give squares of gains, 1 for white noise")
    return squares


def target_variances(plan: Plan, spectrum: ArrayLike) -> Array:
    """The variance of each mode of the data at the last time: alpha^2 v + sigma^2."""
    end = Marginal.at(plan.schedule, grid_of(plan)[-1])
    return end.alpha**2 * checked_spectrum(spectrum) + end.sigma**2


def checked_spectrum(spectrum: ArrayLike) -> Array:
    """Variances as float64; ValueError unless all are finite and none negative."""
    variances = reals(spectrum, "spectrum")
    if variances.size == 0 or not np.isfinite(variances).all() or variances.min() < 0.0:
        raise ValueError("spectrum: empty, or holds inf, NaN or a negative number; give the variance of each frequency")
    return variances


def _followed(plan: Plan, variances: Array, draws: int) -> Array:
    """[n, 1 + draws]."""
    schedule, v = plan.schedule, variances[:, None]

    def ask(_: int, row: Row, x: Array) -> list[Array]:
        at = Marginal.at(schedule, row.time)
        share = x / (at.alpha**2 * v + at.sigma**2)
        return [prediction_of(plan.outputs[0], at, Answer(at.sigma * share, at.alpha * v * share))]

    start = np.zeros((len(variances), 1 + draws))
    start[:, 0] = plan.init.scale * (1.0 if plan.init.distribution == "normal" else _UNIFORM)
    return follow(plan, start, ask, list(np.eye(1 + draws)[1:]))


def _check_linear(plan: Plan) -> None:
    if plan.operators:
        raise ValueError("plan: filters its noise; give the plan before that, and the gains beside it")
    if any(row.gains for row in plan.rows):
        raise ValueError("plan: computes its steps while it runs, which is not linear; take a solver without gains")
    if len(plan.outputs) > 1:
        raise ValueError(f"plan: reads {plan.outputs}; take a solver of predictions alone")
    if any(np.isfinite(c.bound) for row in plan.rows for c in row.converted):
        raise ValueError("plan: clamps its predictions, which is not linear; make it without clip")
