"""rhoRK-DEIS: explicit Runge-Kutta methods on d(x/alpha)/dgamma = epsilon."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction

from numpy.typing import ArrayLike

from .._arguments import choice
from ..numerics import TABLEAUS, Tableau, transfer
from ..plan import Plan
from ..schedules import Schedule
from .building import PlanBuilder, Stage, at_an_end, checked_grid, first_order_stage
from .registry import Solver, per_step, register

__all__ = ["deis_rho_rk"]

_ORIGINS = {
    "euler": "Euler, equal to DDIM",
    "heun": "Heun's second-order method",
    "midpoint": "the midpoint method",
    "kutta3": "Kutta's third-order method",
    "ralston3": "Ralston's third-order method",
    "heun3": "Heun's third-order method",
    "houwen3": "van der Houwen's third-order method",
    "ssprk3": "strong-stability-preserving, order 3",
    "rk4": "the classical order 4",
}


def deis_rho_rk(schedule: Schedule, grid: ArrayLike, *, tableau: str = "heun", prediction: str = "epsilon") -> Plan:
    """Runge-Kutta in gamma, where the probability-flow ODE is dv/dgamma = eps(alpha v), v = x / alpha.

        v_i = v + h sum_j A_ij eps_j,   v' = v + h sum_j b_j eps_j,   h = gamma' - gamma, stages at gamma + c_i h

    ``tableau``: a name of ``numerics.TABLEAUS``. Order and evaluations per step are the tableau's, deterministic, no
    memory between steps; a step to gamma = 0, or from gamma = inf, is Euler's. Zhang and Chen, arXiv 2204.13902 (gamma
    is its rho).
    """
    times = checked_grid(schedule, grid)
    tableau = choice(tableau, "tableau", TABLEAUS)
    builder = PlanBuilder(schedule, prediction=prediction, quantity="epsilon")
    for t, t_next in itertools.pairwise(times):
        if at_an_end(schedule, t, t_next):
            builder.add_stages([first_order_stage(schedule, float(t), float(t_next))])
        else:
            builder.add_stages(_stages(schedule, float(t), float(t_next), TABLEAUS[tableau]))
    return builder.plan(f"deis_rho_{tableau}", times, {"tableau": tableau})


def _stages(schedule: Schedule, t: float, t_next: float, tableau: Tableau) -> list[Stage]:
    step = float(schedule.gamma_change(t, t_next))
    gamma = float(schedule.gamma(t))
    times = [t, *(_time(schedule, t_next, gamma, step, c) for c in tableau.c[1:])]
    leads_to = [*times[1:], t_next]
    return [
        _stage(schedule, t, time, after, step, row)
        for time, after, row in zip(times, leads_to, (*tableau.a[1:], tableau.b), strict=True)
    ]


def _stage(schedule: Schedule, t: float, time: float, after: float, step: float, row: Sequence[Fraction]) -> Stage:
    ratio, _ = transfer(schedule, t, after)
    scale = float(schedule.alpha(after)) * step
    return Stage(time, float(ratio), [scale * float(weight) for weight in row])


def _time(schedule: Schedule, t_next: float, gamma: float, step: float, c: Fraction) -> float:
    return t_next if c == 1 else float(schedule.time_of_gamma(gamma + float(c) * step))


register(
    *(
        Solver(
            f"deis_rho_{name}", deis_rho_rk, order=tableau.order, options={"tableau": name},
            budget=per_step(tableau.stages), summary=f"Runge-Kutta in gamma: {_ORIGINS[name]}",
        )
        for name, tableau in TABLEAUS.items()
    )
)  # fmt: skip
