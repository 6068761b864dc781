"""Where a run starts: in noise, in a state that the caller gives, or in data noised to a time of the grid."""

from __future__ import annotations

from typing import NamedTuple

from .._arguments import integer
from ..plan import Plan
from ..solvers.registry import starting_at
from .noise import STREAM_INITIAL, STREAM_RENOISING

__all__ = ["AS_GIVEN", "Start", "in_noise", "starting_point"]


class Start(NamedTuple):
    """The first state: signal * x + noise * z, with z draw 0 of ``stream``; a term with factor 0 is left out.

    distribution, operator: of z, as a plan's ``Init`` has them.
    """

    signal: float = 1.0
    noise: float = 0.0
    stream: int = STREAM_INITIAL
    distribution: str = "normal"
    operator: str | None = None


AS_GIVEN = Start()


def starting_point(plan: Plan, *, state: bool, image: bool, start: int | None) -> tuple[Plan, Start]:
    """The plan that runs, and its start: the rest of ``plan`` from step ``start`` on where an image is given.

    state, image: whether they are given. ValueError for arguments that do not go together.
    """
    if state and image:
        raise ValueError("state, image: both given; pass state= (at the plan's first time) or image= (clean data)")
    if start is not None and not image:
        raise ValueError(f"start={start!r}: where an image enters the grid; pass image=, the clean data")
    if not image:
        return plan, AS_GIVEN if state else in_noise(plan)
    k = integer(0 if start is None else start, "start")
    if plan.recipe is None:
        raise ValueError(
            "image: plan has no recipe that says its schedule; make it with make_plan or a solver function"
        )
    steps = len(plan.recipe.grid) - 1
    if not 0 <= k < steps:
        raise ValueError(f"start={k}; the grid has {steps} steps, so start is 0..{steps - 1}")
    if plan.rising and k > 0:
        raise ValueError(
            f"start={k}: the plan encodes, from its first time; leave start out, or encode on another grid"
        )
    rest = starting_at(plan, k) if k > 0 else plan
    signal, noise = (float(of(plan.recipe.grid[k])) for of in (plan.schedule.alpha, plan.schedule.sigma))
    noise = rest.init.scale if rest.init.distribution == "normal" else noise
    return rest, Start(signal, noise, STREAM_RENOISING, operator=rest.init.operator)


def in_noise(plan: Plan) -> Start:
    """The start that the plan's ``init`` describes."""
    return Start(0.0, plan.init.scale, STREAM_INITIAL, plan.init.distribution, plan.init.operator)
