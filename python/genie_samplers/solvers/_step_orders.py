"""The order of every step of a multistep method: what its history allows, and less towards the end."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .._arguments import boolean
from ..schedules import Schedule

__all__ = ["outputs_used", "resolved_lower_order_final", "step_orders"]

_FEW_STEPS = 10


def step_orders(schedule: Schedule, times: NDArray[np.float64], order: int, *, lower_order_final: bool) -> list[int]:
    """At most n + 1 in step n, with ``lower_order_final`` at most N - n, and 1 in a step to gamma = 0."""
    count = len(times) - 1
    orders = [min(order, n + 1, count - n if lower_order_final else order) for n in range(count)]
    return [*orders[:-1], 1] if times[-1] == schedule.t_zero else orders


def resolved_lower_order_final(choice: bool | None, times: NDArray[np.float64]) -> bool:
    """The published rule where the caller has no choice: yes with fewer than 10 steps."""
    return len(times) - 1 < _FEW_STEPS if choice is None else boolean(choice, "lower_order_final")


def outputs_used(most: int, n: int, *, gradual: bool) -> int:
    """How many outputs step n combines while the history fills: all there are, or "gradual", 1, 2, 2, 2, 3, 3, 4, .."""
    return min(most, n + 1, max(2, n // 2 + 1)) if gradual else min(most, n + 1)
