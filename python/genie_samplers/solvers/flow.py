"""Methods of flow matching: Adams-Bashforth and Runge-Kutta on dx/dt = flow, on every schedule."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction

from numpy.typing import ArrayLike

from .._arguments import choice, integer
from ..numerics import TABLEAUS, Tableau, flow_weights
from ..plan import Plan
from ..schedules import Schedule
from .building import PlanBuilder, Stage, Update, checked_grid, multistep, outputs_used
from .registry import Solver, per_step, register

__all__ = ["flow_ab", "flow_rk"]

_ORDERS = (1, 2, 3, 4)
_WARMUPS = ("lower_order", "gradual")
_WITHOUT_END = {"euler": "euler", "midpoint": "midpoint", "heun": "euler", "rk4": "heun3"}


def flow_ab(
    schedule: Schedule, grid: ArrayLike, *, order: int = 2, warmup: str = "lower_order", prediction: str = "flow"
) -> Plan:
    """Adams-Bashforth on dz/ds = flow, z = x / (alpha + sigma), s = sigma / (alpha + sigma).

        z' = z + sum_j (int_s^{s'} l_j ds) flow_j,     flow = epsilon - x_0          (l_j: Lagrange basis in s)

    On a flow schedule z = x and s = t, the variable-step Adams-Bashforth method that flow users know; on any other the
    same path rescaled, with finite coefficients at alpha = 0 and at sigma = 0. ``order`` is the number of outputs
    combined, 1 (Euler, equal to DDIM) to 4, and the global order with an exact start; history order - 1, one evaluation
    per step, deterministic. ``warmup`` as in deis_tab. Lipman et al., arXiv 2210.02747; Hairer, Norsett and Wanner,
    Solving Ordinary Differential Equations I, III.5.
    """
    times = checked_grid(schedule, grid)
    order = choice(integer(order, "order"), "order", _ORDERS)
    gradual = choice(warmup, "warmup", _WARMUPS) == "gradual"
    scales = (schedule.alpha(times) + schedule.sigma(times)).tolist()

    def update(n: int) -> Update:
        nodes = times[n + 1 - outputs_used(order, n, gradual=gradual) : n + 1][::-1]
        weights = scales[n + 1] * flow_weights(schedule, nodes, times[n + 1])
        return Update(scales[n + 1] / scales[n], weights.tolist())

    return multistep(
        f"flow_ab{order}", schedule, times, map(update, range(len(times) - 1)),
        prediction=prediction, quantity="flow", options={"order": order, "warmup": warmup},
    )  # fmt: skip


def flow_rk(schedule: Schedule, grid: ArrayLike, *, tableau: str = "heun", prediction: str = "flow") -> Plan:
    """Runge-Kutta on dz/ds = flow, in the variables of :func:`flow_ab`.

        z_i = z + h sum_j A_ij flow_j,   z' = z + h sum_j b_j flow_j,   h = s' - s, stages at s + c_i h

    ``tableau``: "euler", "midpoint", "heun" or "rk4" of ``numerics.TABLEAUS``. Order and evaluations per step are the
    tableau's, deterministic, no memory between steps. A network is not asked at sigma = 0, where it was hardly trained:
    the step to there is Euler's in place of Heun's and Heun's of order 3 in place of rk4. diffusers'
    FlowMatchHeunDiscreteScheduler is "heun".
    """
    times = checked_grid(schedule, grid)
    tableau = choice(tableau, "tableau", _WITHOUT_END)
    builder = PlanBuilder(schedule, prediction=prediction, quantity="flow")
    for t, t_next in itertools.pairwise(times.tolist()):
        chosen = _WITHOUT_END[tableau] if t_next == schedule.t_zero else tableau
        builder.add_stages(_stages(schedule, t, t_next, TABLEAUS[chosen]))
    return builder.plan(f"flow_{tableau}", times, {"tableau": tableau})


def _stages(schedule: Schedule, t: float, t_next: float, tableau: Tableau) -> list[Stage]:
    start, step = float(schedule.noise_share(t)), float(schedule.noise_share(t_next) - schedule.noise_share(t))
    inner = [float(schedule.time_of_noise_share(start + float(c) * step)) for c in tableau.c[1:] if c != 1]
    times = [t, *inner, *(t_next for c in tableau.c if c == 1)]
    leads_to, rows = [*times[1:], t_next], (*tableau.a[1:], tableau.b)
    return [_stage(schedule, t, time, after, step, row) for time, after, row in zip(times, leads_to, rows, strict=True)]


def _stage(schedule: Schedule, t: float, time: float, after: float, step: float, row: Sequence[Fraction]) -> Stage:
    now, scale = (float(schedule.alpha(at) + schedule.sigma(at)) for at in (t, after))
    return Stage(time, scale / now, [scale * step * float(weight) for weight in row])


register(
    *(
        Solver(
            f"flow_ab{order}", flow_ab, order=order, options={"order": order},
            summary=f"Adams-Bashforth in flow coordinates, {order} outputs; option warmup",
        )
        for order in _ORDERS[1:]
    ),
    *(
        Solver(
            f"flow_{name}", flow_rk, order=TABLEAUS[name].order, options={"tableau": name},
            budget=per_step(TABLEAUS[name].stages),
            summary=f"Runge-Kutta in flow coordinates: {summary}",
        )
        for name, summary in {
            "euler": "Euler, equal to DDIM", "midpoint": "the midpoint method", "heun": "Heun's second-order method",
            "rk4": "the classical order 4",
        }.items()
    ),
)  # fmt: skip
