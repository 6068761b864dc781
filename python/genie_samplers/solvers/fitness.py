"""Whether the results of a plan are samples at all, reckoned on Gaussian data when the plan is made."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..plan import Plan, Row
from ..schedules import Schedule
from .exact_data import Answer, Marginal, prediction_of
from .scoring import follow, grid_of

__all__ = ["UnfitWarning", "misfit", "spread_error"]

Array = NDArray[np.float64]

_VARIANCE = 0.25  # of images in [-1, 1]
_FAR = 0.5  # of the data's deviation: a variance that is wrong by more than twofold, or data of which half is lost
_WORSE = 1.5  # times DDIM's error, which costs no more on the same times: it is the solver, not the few steps


class UnfitWarning(UserWarning):
    """A plan whose results are no samples: its solver needs smaller steps, or another schedule."""


def misfit(plan: Plan, schedule: Schedule) -> str:
    """What is wrong with a plan on data whose flow is known and what to take instead; "" where nothing is.

    Wrong is an error above half the data's deviation that is 1.5 times that of DDIM on the same times, too. DDIM with
    few steps gives data of too small a spread, never of more than half; a method with stages or with extrapolated
    outputs may run away. Plans that encode, that clip, that read derivatives, that are no tables or that start in other
    noise are not judged.
    """
    clips = any(c.bound != math.inf for row in plan.rows for c in row.converted)
    reckoned = plan.is_table and plan.init.distribution == "normal"
    if plan.rising or clips or len(plan.outputs) > 1 or plan.recipe is None or not reckoned:
        return ""
    error = spread_error(plan, schedule)
    if error <= _FAR:
        return ""
    of_ddim = _error_of_ddim(np.array(grid_of(plan)), plan.init.scale, schedule)
    if error <= _WORSE * of_ddim:
        return ""
    return (
        f"{plan.recipe.solver} with nfe={plan.nfe} is unfit for this schedule ({schedule.name}) on these times: on "
        f"Gaussian data its results are off by {error:.3g} of the data's deviation ({of_ddim:.2g} with ddim); take "
        "'auto', or more evaluations"
    )


def spread_error(plan: Plan, schedule: Schedule) -> float:
    """The error of what the plan makes of Gaussian data of mean 0, in units of the data's deviation; inf if not finite.

    Of a deterministic plan that of the state against the exact flow, of a stochastic one that of its deviation.
    """
    grid = grid_of(plan)
    times = np.array([*plan.times, grid[0], grid[-1]])
    each = [
        Marginal(*ends) for ends in zip(schedule.alpha(times).tolist(), schedule.sigma(times).tolist(), strict=True)
    ]
    at = dict(zip(times.tolist(), each, strict=True))

    def ask(_: int, row: Row, x: Array) -> list[Array]:
        alpha, sigma = now = at[row.time]
        share = x / (alpha**2 * _VARIANCE + sigma**2)
        return [prediction_of(plan.outputs[0], now, Answer(sigma * share, alpha * _VARIANCE * share))]

    draws = sum(len(row.draws) for row in plan.rows)
    start, *drawn = np.eye(1 + draws)
    with np.errstate(over="ignore", invalid="ignore"):
        last = follow(plan, plan.init.scale * start, ask, drawn)
        reached = float(np.sqrt(np.square(last).sum())) if draws else float(last[0])
        exact = plan.init.scale * _spread(at[grid[-1]]) / _spread(at[grid[0]])
        error = abs(reached - exact) / (at[grid[-1]].alpha * math.sqrt(_VARIANCE))
    return error if math.isfinite(error) else math.inf


def _error_of_ddim(times: Array, scale: float, schedule: Schedule) -> float:
    """The same of DDIM, which multiplies the state by a known factor in every step."""
    alpha, sigma = schedule.alpha(times), schedule.sigma(times)
    variances = alpha**2 * _VARIANCE + sigma**2
    factors = (alpha[:-1] * alpha[1:] * _VARIANCE + sigma[:-1] * sigma[1:]) / variances[:-1]
    exact = math.sqrt(variances[-1] / variances[0])
    return scale * abs(float(np.prod(factors)) - exact) / (float(alpha[-1]) * math.sqrt(_VARIANCE))


def _spread(at: Marginal) -> float:
    return math.sqrt(at.alpha**2 * _VARIANCE + at.sigma**2)
