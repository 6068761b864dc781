"""The steps of a plan, as features for a head of corrections."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...plan import Plan, Recipe

__all__ = ["step_features"]

Array = NDArray[np.float64]


def step_features(plan: Plan, memory: int) -> Array:
    """[rows, 2 + memory]: log gamma, then its falls over the step and over those before that the polynomial spans.

    Rows that read no correction are zero. ValueError for a plan to which a head of corrections does not belong: of
    another variable than log gamma or of another quantity than epsilon, rising, or of longer memory.
    """
    recipe = _checked_recipe(plan, memory)
    log_gamma = plan.schedule.log_gamma(np.array([*plan.times, recipe.grid[-1]]))
    found = np.zeros((len(plan.times), 2 + memory))
    for number, row in enumerate(plan.rows):
        if row.outputs > 1:
            nodes = log_gamma[[number + 1, number, *(entry.row for entry in row.history)]]
            found[number, 0], found[number, 1 : len(nodes)] = log_gamma[number], np.diff(nodes)
    return found


def _checked_recipe(plan: Plan, memory: int) -> Recipe:
    recipe = plan.recipe
    if recipe is None or recipe.options.get("variable") != "log_gamma" or plan.quantity != "epsilon":
        found = f"variable={recipe.options.get('variable')!r}" if recipe else "without a recipe"
        raise ValueError(
            f"plan: {found}, of {plan.quantity}; a head of corrections knows polynomials of epsilon in log gamma, make "
            "the plan with make_plan and variable='log_gamma', quantity='epsilon'"
        )
    if plan.rising:
        raise ValueError("plan: encodes; a head of corrections knows steps to smaller gamma, use derivative='exact'")
    longest = max((len(row.history) for row in plan.rows if row.outputs > 1), default=0)
    if longest > memory or any(entry.h for row in plan.rows for entry in row.history):
        raise ValueError(
            f"plan: reads {longest} earlier predictions, or earlier derivatives; the head knows {memory} predictions, "
            "give smaller values= and derivatives=1"
        )
    return recipe
