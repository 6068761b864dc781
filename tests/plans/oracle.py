"""An executor of plans in plain numpy, independent of engine, fused_step and plan.unrolled().

It reads the layout, the table and the first input scale of a plan, nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from genie_samplers import Plan

Array = NDArray[np.float64]
Arrays = Sequence[Array] | Array  # an array is the sequence of its rows
Network = Callable[[int, Array], Arrays]

__all__ = ["execute", "impulse_magnitudes", "impulse_responses", "roundings"]


def execute(
    plan: Plan,
    x: Array,
    network: Network,
    draws: Arrays = (),
    *,
    table: Array | None = None,
    replace: Callable[[int, Array], Array] = lambda _, x: x,
) -> list[Array]:
    """Every state of the plan.

    network(row, network input) -> outputs. replace(row, new state) -> the state to go on with.
    """
    states, aux, slots = [x], np.full_like(x, np.nan), [np.full_like(x, np.nan)] * plan.slots
    x_in = plan.rows[0].input_scale * x
    for row, layout in enumerate(plan.layout):
        column = iter((plan.table if table is None else table)[row])
        outputs = network(row, x_in)[: layout.outputs] if layout.calls else ()
        converted = []
        for _ in range(layout.converted):
            y = _weighted(column, [x, *outputs])
            bound, scale = next(column), next(column)
            converted.append(scale * np.clip(y, -bound, bound))
        terms = [x, *[aux][: layout.reads_aux], *converted, *(slots[s] for s in layout.history)]
        terms += [draws[d] for d in layout.draws]
        x = replace(row, _weighted(column, terms))
        aux = _weighted(column, terms) if layout.writes_aux else aux
        for slot, y in zip(layout.store, converted, strict=True):
            slots = [y if s == slot else kept for s, kept in enumerate(slots)]
        x_in = next(column) * x
        states.append(x)
    return states


def _weighted(column: Iterator[float], values: Sequence[Array]) -> Array:
    """Sum of coefficient * value; coefficient zero leaves a term out, also a NaN."""
    total = np.zeros_like(values[0])
    for value in values:
        coefficient = next(column)
        total = total if coefficient == 0.0 else total + coefficient * value
    return total


def impulse_responses(plan: Plan, table: Array | None = None) -> list[Array]:
    """Every state's coefficients of [x_T, outputs of row 0, of row 1, ..., draws]."""
    count, rows = len(plan.output_names), len(plan.rows)
    draws = sum(len(row.draws) for row in plan.layout)
    basis = np.eye(1 + rows * count + draws)

    def network(row: int, _: Array) -> Array:
        return basis[1 + row * count : 1 + (row + 1) * count]

    return execute(plan, basis[0], network, basis[1 + rows * count :], table=table)


def impulse_magnitudes(plan: Plan) -> Array:
    """The last state's responses to unsigned coefficients; roundings are relative to it."""
    return impulse_responses(plan, np.abs(plan.table))[-1]


def roundings(plan: Plan) -> int:
    """How many roundings lie at most between a network output and the last state.

    Per row and value: one of each coefficient used, one per product and at most one per term of
    the two sums it enters; a row has at most columns + 1 of them on any path.
    """
    return sum(row.columns + 1 for row in plan.layout)
