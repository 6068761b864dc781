"""iPNDM: Adams-Bashforth weights of equal steps, on any grid."""

from __future__ import annotations

from numpy.typing import ArrayLike

from .._arguments import choice, integer
from ..plan import Plan
from ..schedules import Schedule
from .building import EQUAL_STEPS, Update, checked_grid, first_order, multistep, outputs_used
from .registry import Solver, register

__all__ = ["ipndm"]

_WARMUPS = ("lower_order", "gradual")


def ipndm(
    schedule: Schedule,
    grid: ArrayLike,
    *,
    order: int = 4,
    warmup: str = "lower_order",
    prediction: str = "epsilon",
) -> Plan:
    """Improved PNDM: DDIM's step along an Adams-Bashforth combination with the weights of equal steps.

        x' = (a'/a) x + a' (gamma' - gamma) e,   e = w . [eps_n, eps_{n-1}, ..]          lower orders while it starts

    ``order`` is the number of outputs combined, 1 (DDIM) to 4. Global order 2 for order >= 2 on any grid that is not
    uniform in gamma, history order - 1, one evaluation per step, deterministic. Zhang and Chen, arXiv 2204.13902; the
    weights: Liu et al., arXiv 2202.09778. ``warmup``: "lower_order" as published, or "gradual" as in deis_tab.
    """
    times = checked_grid(schedule, grid)
    order = choice(integer(order, "order"), "order", EQUAL_STEPS)
    gradual = choice(warmup, "warmup", _WARMUPS) == "gradual"
    orders = (outputs_used(order, n, gradual=gradual) for n in range(len(times) - 1))
    updates = (_update(schedule, times[n], times[n + 1], k) for n, k in enumerate(orders))
    return multistep(
        f"ipndm{order}",
        schedule,
        times,
        updates,
        prediction=prediction,
        quantity="epsilon",
        options={"order": order, "warmup": warmup},
    )


def _update(schedule: Schedule, t: float, t_next: float, order: int) -> Update:
    step = first_order(schedule, t, t_next)
    return step._replace(weights=[step.weights[0] * w for w in EQUAL_STEPS[order]])


_CHOICES = tuple({"order": order, "warmup": warmup} for order in (2, 3, 4) for warmup in _WARMUPS)

register(
    *(
        Solver(
            f"ipndm{order}", ipndm, order=min(order, 2), options={"order": order},
            summary=f"improved PNDM, {order} outputs, weights of equal steps; option warmup",
        )
        for order in EQUAL_STEPS
    ),
    Solver(
        "ipndm", ipndm, order=2, choices=_CHOICES,
        summary="improved PNDM, order, warm-up and grid by score",
    ),
)  # fmt: skip
