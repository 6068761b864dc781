"""Predictions of the clean data clamped to the data's range, in the rows of any solver of predictions alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from .. import predictions
from .._arguments import real
from ..plan import Combination, Conversion, HistoryEntry, Plan, Row
from .building import sum_or_zero

__all__ = ["clipped"]


class _Split(NamedTuple):
    """A row's epsilon or flow as of_x * x + of_x0 * D, with x the state before the row and D its clamped x0."""

    of_x: float
    of_x0: float


def clipped(plan: Plan, clip: float) -> Plan:
    """The plan of a solver with the network's x0 predictions clamped to [-clip, clip]; ``clip`` joins its options.

    Of a solver of x0 predictions the conversions are bounded. A solver of noise predictions is given

        D = clamp(p x + q out, -clip, clip),     eps = (x - alpha D) / sigma

    so that its plan is one of quantity "x0": a row converts to D and, where a later row reads its epsilon, to x too;
    a weight w of an epsilon becomes w / sigma of x and -w alpha / sigma of D. A solver of flow predictions is given
    eps - D in the same way. As many evaluations; no longer linear.
    Static thresholding of Saharia et al., arXiv 2205.11487; diffusers' DDIMScheduler with ``clip_sample`` and
    ``use_clipped_model_output``.

    ValueError unless 0 < clip < inf, for a solver that reads derivatives, and for an epsilon at sigma = 0; TypeError
    for what is no number.
    """
    clip = real(clip, "clip")
    if not 0.0 < clip < math.inf:
        raise ValueError(f"clip={clip}; give a positive finite number, the largest value of the data, or None")
    if plan.recipe is None:
        raise ValueError("clip: the plan has no recipe that says its schedule; make it with make_plan")
    _check_rows(plan)
    recipe = replace(plan.recipe, options={**plan.recipe.options, "clip": clip})
    if plan.quantity == "x0":
        return replace(plan, rows=tuple(_bounded(row, clip) for row in plan.rows), recipe=recipe)
    return replace(plan, quantity="x0", rows=_in_x0(plan, clip), recipe=recipe)


def _check_rows(plan: Plan) -> None:
    if not plan.is_table:
        raise ValueError("clip: the plan computes gains or applies operators, of predictions that are not clamped")
    for row in plan.rows:
        if len(row.converted) > 1 and row.x0 is None:
            raise ValueError(
                "clip: the solver reads derivatives, which belong to predictions that are not clamped; take one of "
                "predictions alone, as dpmpp, unipc or deis_tab"
            )
        if any(c.bound != np.inf or c.scale != 1.0 for c in row.converted):
            raise ValueError("clip: the plan clamps already; clip the plan of a solver, once")


def _bounded(row: Row, clip: float) -> Row:
    if not row.calls:
        return row
    return replace(row, converted=tuple(replace(c, bound=clip) for c in row.converted))


def _in_x0(plan: Plan, clip: float) -> tuple[Row, ...]:
    """The rows of a plan of epsilon or flow with D, and the state where it is read, in their place."""
    splits = [_split(plan, row) for row in plan.rows]
    read = {entry.row for row in plan.rows for entry in row.history}
    made = []
    for number, (row, own) in enumerate(zip(plan.rows, splits, strict=True)):
        converted = row.converted
        if own is not None:
            p, q = (float(v) for v in predictions.to_x0(plan.outputs[0], plan.schedule, row.time))
            nothing = (0.0,) * (len(plan.outputs) - 1)
            state = (Conversion(1.0, (0.0, *nothing)),) if number in read else ()
            converted = (Conversion(p, (q, *nothing), bound=clip), *state)
        earlier = [splits[entry.row] for entry in row.history]
        made.append(
            replace(
                row,
                x=_combination(row.x, len(converted), own, earlier),
                aux=None if row.aux is None else _combination(row.aux, len(converted), own, earlier),
                converted=converted,
                history=_entries(row.history, earlier),
            )
        )
    return tuple(made)


def _split(plan: Plan, row: Row) -> _Split | None:
    """None of a row that asks no network: what it converts is not clamped, and stays what it is."""
    if not row.calls or not row.converted:
        return None
    alpha, sigma = float(plan.schedule.alpha(row.time)), float(plan.schedule.sigma(row.time))
    if sigma == 0.0:
        raise ValueError(f"clip: at t={row.time!r}, where sigma = 0, no x0 determines epsilon; start the grid after it")
    return _Split(1.0 / sigma, -(alpha + sigma if plan.quantity == "flow" else alpha) / sigma)


def _entries(history: Sequence[HistoryEntry], earlier: Sequence[_Split | None]) -> tuple[HistoryEntry, ...]:
    """D and the state of each row in place of its epsilon."""
    numbers = [(entry.row, range(1 if split is None else 2)) for entry, split in zip(history, earlier, strict=True)]
    return tuple(HistoryEntry(row, h) for row, entries in numbers for h in entries)


def _combination(
    weights: Combination, converted: int, own: _Split | None, earlier: Sequence[_Split | None]
) -> Combination:
    x, y = weights.x, weights.y
    if own is not None:
        x = sum_or_zero(x, y[0] * own.of_x)
        of_x0 = y[0] * own.of_x0 + sum(y[1:])  # beside the row's own x0, where it has one
        y = (of_x0, *(0.0,) * (converted - 1))
    split = [
        (w,) if other is None else (w * other.of_x0, w * other.of_x)
        for w, other in zip(weights.history, earlier, strict=True)
    ]
    return replace(weights, x=x, y=y, history=tuple(w for pair in split for w in pair))
