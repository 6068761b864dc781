"""DEIS: exponential integration of a polynomial through past network outputs."""

from __future__ import annotations

from numpy.typing import ArrayLike

from .._arguments import integer
from ..numerics import epsilon_weights, transfer
from ..plan import Combination, Plan, Step
from ..registry import Solver, register
from ..schedules import Schedule
from ._rows import checked_grid, conversion, finish, past_rows

__all__ = ["deis_tab"]

_MAX_ORDER = 3


def deis_tab(schedule: Schedule, grid: ArrayLike, *, order: int = 3, prediction: str = "epsilon") -> Plan:
    """tAB-DEIS: the noise prediction is extrapolated by a polynomial in t.

        x_{n+1} = (a_{n+1}/a_n) x_n + sum_j C_{n,j} eps_{n-j}
        C_{n,j} = a_{n+1} int_{gamma_n}^{gamma_{n+1}} l_j(t(gamma)) dgamma          (l_j: Lagrange basis in t)

    ``order`` is the polynomial's degree r (0 is DDIM); global order r + 1 with an exact start, history r, one
    evaluation per step, deterministic, lower degrees while the history fills. gamma is the paper's rho. Zhang and Chen,
    arXiv 2204.13902, eq. 14-15. Differs from the authors' code: coefficients by Gauss-Legendre to 1e-12 instead of a
    Riemann sum (off by up to 2e-3).
    """
    times = checked_grid(schedule, grid)
    order = integer(order, "order")
    if order not in range(_MAX_ORDER + 1):
        raise ValueError(f"order={order!r}; choose 0, 1, 2 or 3")
    steps: list[Step] = []
    for n in range(len(times) - 1):
        r = min(order, n)
        nodes = times[n - r : n + 1][::-1]
        weights = epsilon_weights(schedule, nodes, times[n + 1], variable="t")
        ratio, _ = transfer(schedule, times[n], times[n + 1])
        current, *past = (float(w) for w in weights)
        y = conversion(schedule, times[n], prediction=prediction, quantity="epsilon")
        x = Combination(x=float(ratio), y=(current,), history=tuple(past))
        steps.append(Step(float(times[n]), x, converted=(y,), history=past_rows(n, r)))
    return finish(
        f"deis_tab{order}", schedule, times, steps,
        prediction=prediction, quantity="epsilon", options={"order": order},
    )  # fmt: skip


register(
    *(
        Solver(
            f"deis_tab{r}", deis_tab, order=r + 1, options={"order": r},
            summary=f"DEIS, polynomial of degree {r} in t",
        )
        for r in range(_MAX_ORDER + 1)
    )
)  # fmt: skip
