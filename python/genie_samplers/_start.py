"""Where a run starts: in noise, in a state that the caller gives, or in data noised to a time of the grid."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ._arguments import integer
from .plan import Plan

__all__ = ["STREAM_RENOISING", "Start", "starting_point"]

STREAM_INITIAL, STREAM_RENOISING = 0, 3


@dataclass(frozen=True)
class Start:
    """The first state: signal * x_init + noise * z, with z draw 0 of ``stream``; a term with factor 0 is left out."""

    signal: float
    noise: float
    stream: int = STREAM_INITIAL


def starting_point(plan: Plan, x_init: Tensor | None, start: int | None) -> tuple[Plan, Start]:
    """The plan that runs, and its start: the rest of ``plan`` where ``start`` is given."""
    if start is None:
        return plan, Start(0.0, plan.init.scale) if x_init is None else Start(1.0, 0.0)
    k = integer(start, "start")
    if x_init is None:
        raise ValueError(f"start={k}: noises the clean data x_init to a time of the grid; pass x_init")
    if plan.recipe is None:
        raise ValueError(
            f"start={k}: plan has no recipe to rebuild it from; make it with make_plan or a solver function"
        )
    steps = len(plan.recipe.grid) - 1
    if not 0 <= k < steps:
        raise ValueError(f"start={k}; the grid has {steps} steps, so start is 0..{steps - 1}")
    rest = plan.starting_at(k)
    return rest, Start(float(plan.schedule.alpha(plan.recipe.grid[k])), rest.init.scale, STREAM_RENOISING)
