"""One factor for all noise that a plan draws."""

from __future__ import annotations

import math
from dataclasses import replace

from .._arguments import real
from ..plan import Combination, Plan, Row

__all__ = ["tempered"]


def tempered(plan: Plan, temperature: float) -> Plan:
    """The plan with every draw multiplied by ``temperature``, which joins its options; the start stays as it is.

    Few steps of an ancestral sampler lose variance, which a temperature above 1 gives back in part (docs/tdas.md);
    ``calibrate.temperature`` measures it. 1 gives the plan back. ValueError unless positive and finite, for a plan
    that draws nothing, and for one that has a temperature already.
    """
    factor = real(temperature, "temperature")
    if not 0.0 < factor < math.inf:
        raise ValueError(f"temperature={factor}; give a positive finite number, 1 for the noise as it is")
    if not plan.stochastic:
        raise ValueError(f"temperature={factor}: the plan draws no noise; take a stochastic solver, such as ddpm")
    if plan.operators:
        raise ValueError(f"temperature={factor}: the plan filters its noise; temper the plan first, then filter that")
    if any(row.gains for row in plan.rows):
        raise ValueError(f"temperature={factor}: the plan computes its steps with its noise; change its snr instead")
    if plan.recipe is None:
        raise ValueError("temperature: the plan has no recipe to keep it in; make it with make_plan")
    if "temperature" in plan.recipe.options:
        raise ValueError(f"temperature: the plan has {plan.recipe.options['temperature']} already; temper it once")
    if factor == 1.0:
        return plan
    recipe = replace(plan.recipe, options={**plan.recipe.options, "temperature": factor})
    return replace(plan, rows=tuple(_row(row, factor) for row in plan.rows), recipe=recipe)


def _row(row: Row, factor: float) -> Row:
    aux = None if row.aux is None else _scaled(row.aux, factor)
    return replace(row, x=_scaled(row.x, factor), aux=aux) if row.draws else row


def _scaled(weights: Combination, factor: float) -> Combination:
    return replace(weights, draws=tuple(factor * weight for weight in weights.draws))
