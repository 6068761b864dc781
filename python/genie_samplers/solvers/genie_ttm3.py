"""GENIE's third truncated Taylor method."""

from __future__ import annotations

import itertools

from numpy.typing import ArrayLike

from ..numerics import transfer
from ..plan import Plan
from ..schedules import Schedule
from .building import PlanBuilder, checked_grid, from_pure_noise
from .derivative_options import checked_derivative_options
from .registry import Solver, register

__all__ = ["genie_ttm3"]


def genie_ttm3(
    schedule: Schedule,
    grid: ArrayLike,
    *,
    derivative_below: float | None = None,
    afs: bool = False,
    prediction: str = "epsilon",
) -> Plan:
    """The third truncated Taylor method on dv/dgamma = epsilon, v = x / alpha.

        x' = (a'/a) x + a' h eps + a' h^2/2 (d eps/d gamma) + a' h^3/6 (d^2 eps/d gamma^2),      h = gamma' - gamma

    Order 3, one evaluation per step, no history, deterministic; where the derivatives are not used it is DDIM. They are
    total, along the ODE: the network returns gamma_d_epsilon = gamma d eps/d gamma and gamma2_d2_epsilon = gamma^2
    d^2 eps/d gamma^2 after its prediction. Options as :func:`genie_hermite`. Dockhorn et al., arXiv 2210.05475.
    """
    times = checked_grid(schedule, grid)
    uses = checked_derivative_options("exact", derivative_below, afs)
    builder = PlanBuilder(
        schedule, prediction=prediction, quantity="epsilon", derivatives=("gamma_d_epsilon", "gamma2_d2_epsilon")
    )
    used = uses.used(schedule, times)
    for n, (time, t_next) in enumerate(itertools.pairwise(times)):
        if n == 0 and uses.analytic_start(schedule, times):
            builder.add_analytic(time, t_next)
            continue
        if from_pure_noise(schedule, time):
            builder.add_first_order(time, t_next)
            continue
        ratio, weight = (float(v) for v in transfer(schedule, time, t_next))
        if not used[n] or from_pure_noise(schedule, t_next):
            builder.add(time, {n: weight}, x=ratio)
        else:
            change = float(schedule.gamma_change(time, t_next) / schedule.gamma(time))  # h / gamma
            builder.add(
                time, {n: weight}, x=ratio, derivatives={n: 0.5 * weight * change}, derivative=(1.0, change / 3.0)
            )
    return builder.plan("genie_ttm3", times, {"derivative_below": uses.derivative_below, "afs": uses.afs})


register(
    Solver(
        "genie_ttm3", genie_ttm3, order=3,
        summary="GENIE, third truncated Taylor method; exact derivatives; options derivative_below, afs",
    ),
)  # fmt: skip
