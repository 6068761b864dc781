"""rhoRK-DEIS: explicit Runge-Kutta methods on d(x/alpha)/dgamma = epsilon."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType

from numpy.typing import ArrayLike

from .._arguments import choice
from ..numerics import transfer
from ..plan import Plan
from ..schedules import Schedule
from .building import PlanBuilder, Stage, checked_grid
from .registry import Solver, per_step, register

__all__ = ["TABLEAUS", "Tableau", "deis_rho_rk"]


@dataclass(frozen=True)
class Tableau:
    """A Butcher tableau in exact fractions; rows of ``a`` from the second stage on. ValueError unless consistent."""

    order: int
    a: tuple[tuple[str, ...], ...]
    b: tuple[str, ...]
    origin: str

    def __post_init__(self) -> None:
        if [len(row) for row in self.a] != list(range(1, len(self.b))):
            raise ValueError(f"a={self.a}; need rows of 1, 2, .. {len(self.b) - 1} entries below {len(self.b)} weights")
        if sum(map(Fraction, self.b)) != 1:
            raise ValueError(f"b={self.b}; the weights must sum to 1")

    @property
    def c(self) -> tuple[Fraction, ...]:
        """Each stage's place in the step: its row's sum."""
        return (Fraction(0), *(sum(map(Fraction, row), Fraction(0)) for row in self.a))


TABLEAUS: Mapping[str, Tableau] = MappingProxyType(
    {
        "euler": Tableau(1, (), ("1",), "Euler, equal to DDIM"),
        "heun": Tableau(2, (("1",),), ("1/2", "1/2"), "Heun's second-order method"),
        "midpoint": Tableau(2, (("1/2",),), ("0", "1"), "the midpoint method"),
        "kutta3": Tableau(3, (("1/2",), ("-1", "2")), ("1/6", "2/3", "1/6"), "Kutta's third-order method"),
        "ralston3": Tableau(3, (("1/2",), ("0", "3/4")), ("2/9", "1/3", "4/9"), "Ralston's third-order method"),
        "heun3": Tableau(3, (("1/3",), ("0", "2/3")), ("1/4", "0", "3/4"), "Heun's third-order method"),
        "houwen3": Tableau(3, (("8/15",), ("1/4", "5/12")), ("1/4", "0", "3/4"), "van der Houwen's third-order method"),
        "ssprk3": Tableau(3, (("1",), ("1/4", "1/4")), ("1/6", "1/6", "2/3"), "strong-stability-preserving, order 3"),
        "rk4": Tableau(
            4, (("1/2",), ("0", "1/2"), ("0", "0", "1")), ("1/6", "1/3", "1/3", "1/6"), "the classical order 4"
        ),
    }
)  # fmt: skip


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
        for time, after, row in zip(times, leads_to, (*tableau.a, tableau.b), strict=True)
    ]


def _stage(schedule: Schedule, t: float, time: float, after: float, step: float, row: tuple[str, ...]) -> Stage:
    ratio, _ = transfer(schedule, t, after)
    scale = float(schedule.alpha(after)) * step
    return Stage(time, float(ratio), [scale * float(Fraction(weight)) for weight in row])


def _time(schedule: Schedule, t_next: float, gamma: float, step: float, c: Fraction) -> float:
    return t_next if c == 1 else float(schedule.time_of_gamma(gamma + float(c) * step))


register(
    *(
        Solver(
            f"deis_rho_{name}", deis_rho_rk, order=tableau.order, options={"tableau": name},
            budget=per_step(len(tableau.b)), default_grid="uniform_t" if name in ("euler", "heun3") else "karras",
            summary=f"Runge-Kutta in gamma: {tableau.origin}",
        )
        for name, tableau in TABLEAUS.items()
    )
)  # fmt: skip
