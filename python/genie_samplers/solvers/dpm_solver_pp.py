"""DPM-Solver++: multistep in half-log-SNR on the data prediction."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._arguments import choice, integer
from ..numerics import x0_transfer, x0_weights
from ..plan import Plan
from ..schedules import Schedule
from .building import Update, checked_grid, multistep, resolved_lower_order_final, step_orders
from .registry import Solver, register

__all__ = ["dpmpp"]

Array = NDArray[np.float64]

_ORDERS = (1, 2, 3)
_VARIANTS = ("published", "exact")


def dpmpp(
    schedule: Schedule,
    grid: ArrayLike,
    *,
    order: int = 2,
    variant: str | None = None,
    lower_order_final: bool | None = None,
    prediction: str = "epsilon",
) -> Plan:
    """DPM-Solver++(1M, 2M, 3M): the data prediction is extrapolated by a polynomial in half-log-SNR lambda.

        exact:      x' = (sigma'/sigma) x + sigma' int_{kappa}^{kappa'} (polynomial through m_0, .. m_k) dkappa
        published:  2M  x' = (sigma'/sigma) x - a' (e^{-h} - 1) (m_0 + (m_0 - m_1) / (2 r))
                    3M  the exact update with half of its second divided difference
        h = lambda' - lambda_n,   r = (lambda_n - lambda_{n-1}) / h,   kappa = e^lambda,   m_k the x0 k steps back

    Global order ``order``, but 2 for the published 3M (docs/numerics.md); history order - 1, one evaluation per step,
    deterministic, lower orders while the history fills. ``variant``: None is "published" for 2M, as everybody runs it,
    and "exact" for 3M. ``lower_order_final``: whether the last steps have falling orders too, step n at most N - n;
    None is the published rule, fewer than 10 steps, and the recipe holds its answer. A step to gamma = 0 always is of
    order 1 (then x' = m_0). Lu et al., arXiv 2211.01095; 3M as in the authors' code.
    """
    times = checked_grid(schedule, grid)
    order = choice(integer(order, "order"), "order", _ORDERS)
    published = choice(_VARIANTS[order == 3] if variant is None else variant, "variant", _VARIANTS) == "published"
    lower_order_final = resolved_lower_order_final(lower_order_final, times)
    orders = step_orders(schedule, times, order, lower_order_final=lower_order_final)
    updates = (_update(schedule, times, n, k, published=published) for n, k in enumerate(orders))
    return multistep(
        f"dpmpp_{order}m", schedule, times, updates, prediction=prediction, quantity="x0",
        options={
            "order": order, "variant": "published" if published else "exact", "lower_order_final": lower_order_final
        },
    )  # fmt: skip


def _update(schedule: Schedule, times: Array, n: int, order: int, *, published: bool) -> Update:
    ratio, first = (float(v) for v in x0_transfer(schedule, times[n], times[n + 1]))
    if order == 1:
        return Update(ratio, (first,))
    nodes = times[n - order + 1 : n + 1][::-1]
    if published and order == 2:
        return Update(ratio, _midpoint(first, schedule.log_gamma(times[n - 1 : n + 2])))
    weights = x0_weights(schedule, nodes, times[n + 1], variable="log_gamma")
    if published:
        weights = weights - 0.5 * _second_difference(weights, schedule.log_gamma(nodes))
    return Update(ratio, weights.tolist())


def _midpoint(first: float, log_gamma: Array) -> tuple[float, float]:
    """Weights of m_0 and m_1, from the first-order weight and log gamma of the past, present and next time."""
    past, now, after = log_gamma
    half_slope = float(0.5 * (after - now) / (now - past))  # 1 / (2 r)
    return first * (1.0 + half_slope), -first * half_slope


def _second_difference(weights: Array, log_gamma: Array) -> Array:
    """The part of the weights that belongs to the interpolant's square of lambda - lambda_n; nodes newest first."""
    newer, older = log_gamma[1] - log_gamma[0], log_gamma[2] - log_gamma[0]
    moment = weights[1] * newer**2 + weights[2] * older**2  # the integral of the square
    return moment * np.array([1 / (newer * older), 1 / (newer * (newer - older)), 1 / (older * (older - newer))])


_FINALS = ({"lower_order_final": True}, {"lower_order_final": False})

register(
    Solver(
        "dpmpp_1m", dpmpp, order=1, options={"order": 1},
        summary="DPM-Solver++(1M), data prediction, equal to DDIM; options variant, lower_order_final",
    ),
    *(
        Solver(
            f"dpmpp_{order}m", dpmpp, order=order, options={"order": order}, choices=_FINALS,
            summary=f"DPM-Solver++({order}M), data prediction, half-log-SNR; options variant, lower_order_final",
        )
        for order in (2, 3)
    ),
    Solver(
        "dpmpp", dpmpp, order=3, choices=tuple({"order": order, **final} for order in (2, 3) for final in _FINALS),
        summary="DPM-Solver++, order, last orders and grid by score",
    ),
)  # fmt: skip
