"""DPM-Solver++: multistep in half-log-SNR on the data prediction."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._arguments import boolean
from ..numerics import x0_transfer
from ..plan import Combination, Plan, Step
from ..registry import Solver, register
from ..schedules import Schedule
from ._rows import checked_grid, conversion, finish, past_rows

__all__ = ["dpmpp_2m"]

_FEW_STEPS = 10


def dpmpp_2m(
    schedule: Schedule, grid: ArrayLike, *, lower_order_final: bool | None = None, prediction: str = "epsilon"
) -> Plan:
    """DPM-Solver++(2M).

        x' = (sigma'/sigma) x - a' (e^{-h} - 1) (m_0 + (m_0 - m_1) / (2 r))
        h = lambda' - lambda_n,   r = (lambda_n - lambda_{n-1}) / h,   m_k the x0 prediction k steps back

    Order 2, history 1, one evaluation per step, deterministic; first step of order 1. ``lower_order_final``: whether
    the last step is of order 1 too; None is the published rule, fewer than 10 steps, and the recipe holds its answer.
    A step to gamma = 0 always is of order 1 (then x' = m_0). lambda is the half-log-SNR. Lu et al., arXiv 2211.01095,
    algorithm 2.
    """
    times = checked_grid(schedule, grid)
    count = len(times) - 1
    lower_final = count < _FEW_STEPS if lower_order_final is None else boolean(lower_order_final, "lower_order_final")
    log_gamma = schedule.log_gamma(times)
    steps: list[Step] = []
    for n in range(count):
        final = n == count - 1 and (np.isinf(log_gamma[n + 1]) or lower_final)
        ratio, first = (float(v) for v in x0_transfer(schedule, times[n], times[n + 1]))
        current, *past = (first,) if n == 0 or final else _second_order(first, log_gamma[n - 1 : n + 2])
        y = conversion(schedule, times[n], prediction=prediction, quantity="x0")
        x = Combination(x=ratio, y=(current,), history=tuple(past))
        steps.append(Step(float(times[n]), x, converted=(y,), history=past_rows(n, len(past))))
    return finish(
        "dpmpp_2m", schedule, times, steps,
        prediction=prediction, quantity="x0", options={"lower_order_final": lower_final},
    )  # fmt: skip


def _second_order(first: float, log_gamma: NDArray[np.float64]) -> tuple[float, float]:
    """Weights of m_0 and m_1, from the first-order weight and log gamma of the past, present and next time."""
    past, now, after = log_gamma
    half_slope = float(0.5 * (after - now) / (now - past))  # 1 / (2 r)
    return first * (1.0 + half_slope), -first * half_slope


register(
    Solver("dpmpp_2m", dpmpp_2m, order=2, summary="DPM-Solver++(2M), data prediction, half-log-SNR"),
)
