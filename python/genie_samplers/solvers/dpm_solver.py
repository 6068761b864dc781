"""DPM-Solver, singlestep: exponential Runge-Kutta in half-log-SNR on the noise prediction."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from .._arguments import choice, integer
from ..numerics import epsilon_weights, transfer
from ..plan import Plan
from ..schedules import Remembered, Schedule
from .building import PlanBuilder, Stage, at_an_end, checked_grid, first_order_stage
from .registry import Budget, Solver, register

__all__ = ["dpm_solver", "fast_orders"]


def dpm_solver(
    schedule: Schedule,
    grid: ArrayLike,
    *,
    order: int = 3,
    orders: Sequence[int] | None = None,
    prediction: str = "epsilon",
) -> Plan:
    """Singlestep DPM-Solver of order 1, 2 or 3 in every step.

        2: x_1 = DDIM(t -> s),                        x' = (a'/a) x - sigma' (e^h - 1) eps_1,   s at lambda + h/2
        3: x_1 = DDIM(t -> s_1), x_2 to s_2 by (eps, eps_1), x' by (eps, eps_2),      s_i at lambda + (1/3, 2/3) h

    In 3 a pair of outputs stands for the line through them in lambda, integrated exactly. As many evaluations per step
    as the order, no memory between steps, deterministic; a step to gamma = 0 or from gamma = inf is of order 1. lambda
    is the half-log-SNR, h its change over the step. ``orders``: one per step in place of ``order`` (those of order 1
    may be left out), of a longer list the last ones, so that the plan can start later; make_plan takes the paper's
    mixture (:func:`fast_orders`), which makes every number of evaluations, on the intervals of the grid as they are; in
    encoding, too, the lower orders come last. Lu et al., arXiv 2206.00927.
    """
    times = checked_grid(schedule, grid)
    ends = [at_an_end(schedule, t, t_next) for t, t_next in (times[:2], times[-2:])]
    each = _checked_orders(order, orders, len(times) - 1, first=ends[0] and len(times) > 2, last=ends[1])
    steps = list(itertools.pairwise(times.tolist()))
    possible = [1 if t == schedule.t_zero or at_an_end(schedule, t, t_next) else k
                for (t, t_next), k in zip(steps, each, strict=True)]  # fmt: skip
    inner = _times_inside(schedule, steps, possible)
    schedule = Remembered(
        schedule, [*times, *itertools.chain(*inner)],
        [(t, time) for (t, t_next), between in zip(steps, inner, strict=True) for time in (*between, t_next)],
    )  # fmt: skip
    builder = PlanBuilder(schedule, prediction=prediction, quantity="epsilon")
    for (t, t_next), k, between in zip(steps, possible, inner, strict=True):
        builder.add_stages(_STAGES[k](schedule, t, t_next, *between))
    options = {"order": order} if orders is None else {"order": order, "orders": list(each)}
    return builder.plan(f"dpm_solver_{max(2, order)}s", times, options)


def fast_orders(order: int, nfe: int) -> tuple[int, ...]:
    """The paper's "fast" mixture: steps of ``order`` 2 or 3, then lower ones that make up ``nfe`` evaluations."""
    if order == 2:
        return (2,) * (nfe // 2) + (1,) * (nfe % 2)
    if nfe % 3 == 0:
        return (3,) * (nfe // 3 - 1) + (2, 1) * (nfe > 0)
    return (3,) * (nfe // 3) + (nfe % 3,)


def _euler(schedule: Schedule, t: float, t_next: float) -> list[Stage]:
    return [first_order_stage(schedule, t, t_next)]


def _midpoint(schedule: Schedule, t: float, t_next: float, middle: float) -> list[Stage]:
    ratio, weight = transfer(schedule, t, t_next)
    return [*_euler(schedule, t, middle), Stage(middle, float(ratio), (0.0, float(weight)))]


def _third_order(schedule: Schedule, t: float, t_next: float, first: float, second: float) -> list[Stage]:
    ratio_2, ratio = (float(transfer(schedule, t, time)[0]) for time in (second, t_next))
    to_second = epsilon_weights(schedule, [t, first], second, variable="log_gamma").tolist()
    now, later = epsilon_weights(schedule, [t, second], t_next, variable="log_gamma").tolist()
    return [*_euler(schedule, t, first), Stage(first, ratio_2, to_second), Stage(second, ratio, (now, 0.0, later))]


_STAGES = {1: _euler, 2: _midpoint, 3: _third_order}


def _times_inside(
    schedule: Schedule, steps: Sequence[tuple[float, float]], orders: Sequence[int]
) -> list[tuple[float, ...]]:
    """The times of the stages after the first, for each step, equally apart in the half-log-SNR; computed at once."""
    parts = [[i / order for i in range(1, order)] for order in orders]
    start, end = (schedule.half_log_snr(np.repeat(ends, [*map(len, parts)])) for ends in np.array(steps).T)
    times = iter(schedule.time_of_half_log_snr(start + np.concatenate(parts) * (end - start)).tolist())
    return [tuple(next(times) for _ in each) for each in parts]


def _checked_orders(
    order: int, orders: Sequence[int] | None, steps: int, *, first: bool, last: bool
) -> tuple[int, ...]:
    """One per step; those of a first or last step that has order 1 in any case are filled in."""
    order = choice(integer(order, "order"), "order", _STAGES)
    if orders is None:
        return (order,) * steps
    if not isinstance(orders, list | tuple):
        raise TypeError(f"orders={orders!r}: give a list of integers")
    each = tuple(integer(k, "orders") for k in orders)
    if last and len(each) in (steps - 1, steps - 1 - first):
        each = (*each, 1)
    if first and len(each) == steps - 1:
        each = (1, *each)
    if len(each) < steps or any(k not in _STAGES for k in each):
        raise ValueError(f"orders={orders!r}; give 1, 2 or 3 for each of the {steps} steps")
    return each[len(each) - steps :]


def _fast(order: int) -> Callable[[int], Budget]:
    def budget(nfe: int) -> Budget:
        each = fast_orders(order, nfe)
        return Budget(len(each), {"orders": list(each)})

    return budget


register(
    *(
        Solver(
            f"dpm_solver_{order}s", dpm_solver, order=order, options={"order": order}, budget=_fast(order),
            summary=f"DPM-Solver-{order}, singlestep; option orders",
        )
        for order in (2, 3)
    )
)  # fmt: skip
