"""UniPC: a predictor and a corrector that share every network output, eliminated to one linear multistep row."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._arguments import boolean, choice, integer
from ..numerics import x0_transfer, x0_weights
from ..plan import Plan
from ..schedules import Schedule
from .building import PlanBuilder, checked_grid, from_pure_noise, step_orders
from .registry import Solver, register

__all__ = ["unipc"]

Array = NDArray[np.float64]
Weights = dict[int, float]  # of the x0 predictions, by the step that made them

_ORDERS = (1, 2, 3)
_VARIANTS = ("bh1", "bh2")


def unipc(
    schedule: Schedule,
    grid: ArrayLike,
    *,
    order: int = 3,
    variant: str = "bh2",
    lower_order_final: bool = True,
    prediction: str = "epsilon",
) -> Plan:
    """UniPC-p in data prediction: UniP-p predicts, UniC-p corrects with the next output, which is not made again.

        x~_{n+1} = r_n x_n + P_n . m            r_n = sigma_{n+1}/sigma_n, P_n: the x0 polynomial in lambda, degree p-1
        x_{n+1}  = r_n x_n + C_n . m            C_n: the same with the new output m_{n+1} = m(x~_{n+1}) as a node
        rows:  x~_{n+1} = r_n x~_n + (r_n (C_{n-1} - P_{n-1}) + P_n) . m

    The rows are those two with the corrected state eliminated: a linear multistep method in the predicted states.
    Global order p + 1 with an exact start, history p, one evaluation per step, deterministic; no corrector after the
    last step, a step to gamma = 0 predicts with order 1. ``lower_order_final``, as published: the order of step n is at
    most N - n, which leaves order 2 behind but is far better with few steps. ``variant``: the function B(h) of the
    paper, h (bh1) or e^h - 1 (bh2); it only matters where the paper sets a weight to 1/2 instead of solving for it, in
    the predictor of order 2 and the corrector of order 1. Zhao et al., arXiv 2302.04867.
    """
    times = checked_grid(schedule, grid)
    order = choice(integer(order, "order"), "order", _ORDERS)
    variant = choice(variant, "variant", _VARIANTS)
    lower_order_final = boolean(lower_order_final, "lower_order_final")
    builder = PlanBuilder(schedule, prediction=prediction, quantity="x0")
    correction = Weights()
    for n, p in enumerate(step_orders(schedule, times, order, lower_order_final=lower_order_final)):
        ratio = float(x0_transfer(schedule, times[n], times[n + 1])[0])
        predictor = _predictor(schedule, times, n, p, variant)
        builder.add(times[n], _sum(predictor, correction, ratio), x=ratio)
        if n + 2 < len(times):
            correction = _sum(_corrector(schedule, times, n, p, variant), predictor, -1.0)
    return builder.plan(
        f"unipc{order}", times, {"order": order, "variant": variant, "lower_order_final": lower_order_final}
    )


def _predictor(schedule: Schedule, times: Array, n: int, order: int, variant: str) -> Weights:
    if order != 2:
        nodes = range(n, n - order, -1)
        return dict(zip(nodes, x0_weights(schedule, times[nodes], times[n + 1], variable="log_gamma"), strict=True))
    first, half_slope = _first_order(schedule, times, n), 0.5 * _b(schedule, times, n, variant) / _r(schedule, times, n)
    return {n: first + half_slope, n - 1: -half_slope}


def _corrector(schedule: Schedule, times: Array, n: int, order: int, variant: str) -> Weights:
    if order == 1:
        half = 0.5 * _b(schedule, times, n, variant)
        return {n + 1: half, n: _first_order(schedule, times, n) - half}
    nodes = [n, n + 1, *range(n - 1, n - order, -1)]
    return dict(zip(nodes, x0_weights(schedule, times[nodes], times[n + 1], variable="log_gamma"), strict=True))


def _first_order(schedule: Schedule, times: Array, n: int) -> float:
    return float(x0_transfer(schedule, times[n], times[n + 1])[1])


def _b(schedule: Schedule, times: Array, n: int, variant: str) -> float:
    """-a' B(-h)."""
    if variant == "bh2" or from_pure_noise(schedule, times[n]):  # h = inf
        return _first_order(schedule, times, n)
    return float(schedule.alpha(times[n + 1]) * (schedule.log_gamma(times[n]) - schedule.log_gamma(times[n + 1])))


def _r(schedule: Schedule, times: Array, n: int) -> float:
    """(lambda_n - lambda_{n-1}) / h."""
    past, now, after = schedule.log_gamma(times[n - 1 : n + 2])
    return float((now - past) / (after - now))


def _sum(a: Weights, b: Weights, factor: float) -> Weights:
    """a + factor * b."""
    return {key: a.get(key, 0.0) + factor * b.get(key, 0.0) for key in {**a, **b}}


_CHOICES = tuple({"order": order, "lower_order_final": final} for order in (2, 3) for final in (True, False))

register(
    *(
        Solver(
            f"unipc{order}", unipc, order=order + 1, options={"order": order},
            summary=f"UniPC-{order}, data prediction; options variant, lower_order_final",
        )
        for order in _ORDERS
    ),
    Solver("unipc", unipc, order=4, choices=_CHOICES, summary="UniPC, order, last orders and grid by score"),
)  # fmt: skip
