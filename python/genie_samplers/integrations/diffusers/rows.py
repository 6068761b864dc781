"""Rows of a plan rewritten for what a pipeline hands in and expects back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from ...plan import Combination, Conversion, Init, Plan, Row
from ...predictions import to_x0
from ...schedules import Schedule

__all__ = ["bounded_beside_epsilon", "in_sigma_space", "negated", "predicting", "renoised", "unit"]

_LEAST_UNIT = 2.0**-12


def in_sigma_space(plan: Plan, schedule: Schedule, end: float) -> Plan:
    """The rows for a state x / alpha = x_0 + gamma eps, as the Euler and Heun classes of diffusers have it.

    Row k reads x = alpha_k (x / alpha) and leaves x' / alpha_{k+1}; the second state and the history stay what they
    are. ``end``: the time of the last state.
    """
    alphas = [unit(schedule, t) for t in (*plan.times, end)]
    rows = tuple(_between(row, *pair) for row, pair in zip(plan.rows, pairwise(alphas), strict=True))
    return replace(plan, rows=rows, recipe=None)


def unit(schedule: Schedule, t: float) -> float:
    """x over the state in sigma space: alpha, or 2^-12 where no signal is left, so that the state is finite."""
    return max(float(schedule.alpha(t)), _LEAST_UNIT)


def _between(row: Row, alpha: float, alpha_next: float) -> Row:
    return replace(
        row,
        converted=tuple(replace(c, p=c.p * alpha) for c in row.converted),
        x=_scaled(replace(row.x, x=row.x.x * alpha), 1.0 / alpha_next),
        aux=None if row.aux is None else replace(row.aux, x=row.aux.x * alpha),
    )


def _scaled(weights: Combination, factor: float) -> Combination:
    return Combination(
        x=weights.x * factor,
        aux=weights.aux * factor,
        y=tuple(w * factor for w in weights.y),
        history=tuple(w * factor for w in weights.history),
        draws=tuple(w * factor for w in weights.draws),
    )


def negated(plan: Plan) -> Plan:
    """The rows for a network that returns the negative of what the plan calls its output."""
    rows = tuple(
        replace(row, converted=tuple(replace(c, q=tuple(-q for q in c.q)) for c in row.converted)) for row in plan.rows
    )
    return replace(plan, rows=rows, recipe=None)


def bounded_beside_epsilon(plan: Plan, schedule: Schedule, bound: float) -> Plan:
    """The rows of DDIM with x_0 clamped and epsilon as the network says it: diffusers' ``clip_sample``.

    The state's part w x is taken apart into w (alpha x_0 + sigma eps).
    """
    return replace(plan, rows=tuple(_taken_apart(plan, row, schedule, bound) for row in plan.rows), recipe=None)


def _taken_apart(plan: Plan, row: Row, schedule: Schedule, bound: float) -> Row:
    if row.history or row.reads_aux or row.aux is not None or plan.quantity != "epsilon":
        raise ValueError("clip_sample: of DDIM's steps alone; use_clipped_model_output=True is for every solver")
    alpha, sigma = float(schedule.alpha(row.time)), float(schedule.sigma(row.time))
    of_epsilon, of_x0 = (*row.x.y, 0.0)[:2]
    p, q = (float(v) for v in to_x0(plan.outputs[0], schedule, row.time))
    return replace(
        row,
        converted=(row.converted[0], Conversion(p, (q,), bound=bound)),
        x=replace(row.x, x=0.0, y=(of_epsilon + row.x.x * sigma, of_x0 + row.x.x * alpha)),
    )


def renoised(schedule: Schedule, times: Sequence[float], prediction: str) -> Plan:
    """x' = alpha' x_0 + sigma' z, every step with new noise: ``stochastic_sampling`` of flow matching, and LCM's.

    Of a model that was distilled to be sampled so; on others the samples are too smooth. times: falling, end included.
    """
    rows = []
    for number, (t, t_next) in enumerate(pairwise(times)):
        p, q = (float(v) for v in to_x0(prediction, schedule, t))
        signal, noise = float(schedule.alpha(t_next)), float(schedule.sigma(t_next))
        state = Combination(x=0.0, y=(signal,), draws=(noise,) if noise else ())
        rows.append(Row(float(t), state, converted=(Conversion(p, (q,)),), draws=(number,) if noise else ()))
    return Plan(Init(float(schedule.sigma(times[0]))), (prediction,), "x0", tuple(rows))


def predicting(output: str, times: Sequence[float], weights: Sequence[tuple[float, float]]) -> Plan:
    """Rows that each make the clean data of ``weights``, of state and output, and read nothing of one another."""
    rows = tuple(
        Row(float(t), Combination(x=0.0, y=(1.0,)), converted=(Conversion(p, (q,)),))
        for t, (p, q) in zip(times, weights, strict=True)
    )
    return Plan(Init(1.0), (output,), "x0", rows)
