"""rhoRK-DEIS: explicit Runge-Kutta methods on d(x/alpha)/dgamma = epsilon."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from fractions import Fraction
from types import MappingProxyType

from numpy.typing import ArrayLike

from .._arguments import choice
from ..numerics import Tableau, butcher, transfer
from ..plan import Plan
from ..schedules import Schedule
from .building import PlanBuilder, Stage, checked_grid
from .registry import Solver, per_step, register

__all__ = ["TABLEAUS", "deis_rho_rk"]


TABLEAUS: Mapping[str, Tableau] = MappingProxyType(
    {
        "euler": butcher(1, (), (1,)),
        "heun": butcher(2, ((1,),), ("1/2", "1/2")),
        "midpoint": butcher(2, (("1/2",),), (0, 1)),
        "kutta3": butcher(3, (("1/2",), (-1, 2)), ("1/6", "2/3", "1/6")),
        "ralston3": butcher(3, (("1/2",), (0, "3/4")), ("2/9", "1/3", "4/9")),
        "heun3": butcher(3, (("1/3",), (0, "2/3")), ("1/4", 0, "3/4")),
        "houwen3": butcher(3, (("8/15",), ("1/4", "5/12")), ("1/4", 0, "3/4")),
        "ssprk3": butcher(3, ((1,), ("1/4", "1/4")), ("1/6", "1/6", "2/3")),
        "rk4": butcher(4, (("1/2",), (0, "1/2"), (0, 0, 1)), ("1/6", "1/3", "1/3", "1/6")),
    }
)

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

    ``tableau``: a name of :data:`TABLEAUS`. Order and evaluations per step are the tableau's, deterministic, no memory
    between steps; a step to gamma = 0 is Euler's. Zhang and Chen, arXiv 2204.13902 (gamma is its rho).
    """
    times = checked_grid(schedule, grid)
    tableau = choice(tableau, "tableau", TABLEAUS)
    builder = PlanBuilder(schedule, prediction=prediction, quantity="epsilon")
    for t, t_next in itertools.pairwise(times):
        chosen = TABLEAUS["euler" if t_next == schedule.t_zero else tableau]
        builder.add_stages(_stages(schedule, float(t), float(t_next), chosen))
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
            budget=per_step(tableau.stages), default_grid="uniform_t" if name in ("euler", "heun3") else "karras",
            summary=f"Runge-Kutta in gamma: {_ORIGINS[name]}",
        )
        for name, tableau in TABLEAUS.items()
    )
)  # fmt: skip
