"""Runs of ``sample`` whose thread keeps something, for the tests of that."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from torch import Tensor

import genie_samplers as gs
from genie_samplers import Plan
from genie_samplers.run.workspace import KEPT

from .fakes import SHAPE, solver_plan

__all__ = ["PLAN", "draw", "elsewhere", "halve", "kept_states"]

PLAN = solver_plan("deis_tab2", 4)


def halve(x: Tensor, t: Tensor) -> Tensor:
    return 0.5 * x


def draw(
    plan: Plan = PLAN, model: Any = halve, *, count: int = 3, backend: str | None = "cpu", **options: Any
) -> Tensor:
    start = {} if options.keys() & {"state", "image"} else {"shape": (count, *SHAPE)}
    return gs.sample(model, plan, **start, **options, backend=backend)


def elsewhere(function: Callable[[], Tensor]) -> Tensor:
    """What it returns in a thread that has kept nothing."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()


def kept_states() -> list[int]:
    return [id(workspace.state) for workspace in KEPT.held]
