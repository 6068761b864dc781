"""PNDM as published: a pseudo Runge-Kutta start, then the Adams-Bashforth weights of equal steps."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from numpy.typing import ArrayLike

from ..numerics import transfer
from ..plan import Plan
from ..schedules import Schedule
from .building import EQUAL_STEPS, PlanBuilder, Stage, at_an_end, checked_grid, first_order_stage, from_pure_noise
from .registry import Budget, Solver, register

__all__ = ["f_pndm", "plms", "s_pndm"]

Start = Callable[[Schedule, float, float], list[Stage]]


def s_pndm(schedule: Schedule, grid: ArrayLike, *, prediction: str = "epsilon") -> Plan:
    """S-PNDM: a pseudo improved-Euler step, then e = (3 eps_n - eps_{n-1}) / 2 along DDIM's step.

    Order 2, history 1, one evaluation per step and one more in the first, deterministic. A step from gamma = inf
    comes before the start and is DDIM's, as is a first step to gamma = 0. Liu et al., arXiv 2202.09778.
    """
    return _pndm("s_pndm", schedule, grid, _improved_euler, warmup=1, most=2, prediction=prediction)


def plms(schedule: Schedule, grid: ArrayLike, *, prediction: str = "epsilon") -> Plan:
    """S-PNDM's start, then as many outputs as there are, up to four, along DDIM's step: PLMS of latent diffusion.

    Order 2 on grids that are not uniform in gamma, history 3, one evaluation per step and one more in the first,
    deterministic; steps from gamma = inf and to 0 as in :func:`s_pndm`. Rombach et al., arXiv 2112.10752, whose sampler
    it is; diffusers' PNDMScheduler with ``skip_prk_steps``.
    """
    return _pndm("plms", schedule, grid, _improved_euler, warmup=1, most=4, prediction=prediction)


def f_pndm(schedule: Schedule, grid: ArrayLike, *, prediction: str = "epsilon") -> Plan:
    """F-PNDM: three pseudo Runge-Kutta steps of four evaluations, then four outputs along DDIM's step.

        e = (eps_1 + 2 eps_2 + 2 eps_3 + eps_4)/6 with stages at t, (t+t')/2, (t+t')/2, t';   then AB4's weights

    Order 2 on grids that are not uniform in gamma, history 3 (the first output of each starting step), one evaluation
    per step and nine more in the start, deterministic. A starting step to gamma = 0 is DDIM's, as is one
    from gamma = inf, which comes before the start. Liu et al., arXiv
    2202.09778. Differs from the authors' code: the middle lies at half the time exactly, not at an integer
    label, and the grid is the caller's.
    """
    return _pndm("f_pndm", schedule, grid, _runge_kutta, warmup=3, most=4, prediction=prediction)


def _pndm(
    name: str, schedule: Schedule, grid: ArrayLike, start: Start, *, warmup: int, most: int, prediction: str
) -> Plan:
    times = checked_grid(schedule, grid)
    builder = PlanBuilder(schedule, prediction=prediction, quantity="epsilon")
    history: list[int] = []  # the rows of eps_n, newest first
    before = int(from_pure_noise(schedule, times[0]))  # a first step from there is none of the starting ones
    for n, (t, t_next) in enumerate(itertools.pairwise(times.tolist()), start=-before):
        history.insert(0, builder.next)
        if n >= warmup:
            ratio, weight = (float(v) for v in transfer(schedule, t, t_next))
            weights = EQUAL_STEPS[min(most, n + 1)]
            builder.add(t, {row: weight * w for row, w in zip(history, weights, strict=False)}, x=ratio)
        elif at_an_end(schedule, t, t_next):
            builder.add_stages([first_order_stage(schedule, t, t_next)])
        else:
            builder.add_stages(start(schedule, t, t_next))
    return builder.plan(name, times, {})


def _improved_euler(schedule: Schedule, t: float, t_next: float) -> list[Stage]:
    ratio, weight = (float(v) for v in transfer(schedule, t, t_next))
    return [Stage(t, ratio, (weight,)), Stage(t_next, ratio, (weight / 2, weight / 2))]


def _runge_kutta(schedule: Schedule, t: float, t_next: float) -> list[Stage]:
    middle = 0.5 * (t + t_next)
    ratio, weight = (float(v) for v in transfer(schedule, t, t_next))
    half_ratio, half = (float(v) for v in transfer(schedule, t, middle))
    return [
        Stage(t, half_ratio, (half,)),
        Stage(middle, half_ratio, (0.0, half)),
        Stage(middle, ratio, (0.0, 0.0, weight)),
        Stage(t_next, ratio, (weight / 6, weight / 3, weight / 3, weight / 6)),
    ]


def _f_pndm_budget(nfe: int) -> Budget:
    return Budget(nfe - 9 if nfe >= 12 else nfe // 4)


register(
    Solver(
        "s_pndm", s_pndm, order=2, budget=lambda nfe: Budget(max(0, nfe - 1)),
        summary="pseudo improved Euler, then 2 outputs; one evaluation more than steps",
    ),
    Solver(
        "plms", plms, order=2, budget=lambda nfe: Budget(max(0, nfe - 1)),
        summary="pseudo improved Euler, then up to 4 outputs; one evaluation more than steps",
    ),
    Solver(
        "f_pndm", f_pndm, order=2, budget=_f_pndm_budget,
        summary="3 pseudo Runge-Kutta steps, then 4 outputs; nine evaluations more than steps",
    ),
)  # fmt: skip
