"""A linear plan as one lower-triangular map from (x_T, network outputs, draws) to its states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .apply import Apply
from .rows import Combination, Conversion, Row

__all__ = ["Unrolled", "unroll"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Unrolled:
    """x_i = state[i]*x_T + sum_j,o output[i, j, o]*out_{j,o} + sum_d draw[i, d]*d, i = 0..rows (lower triangular)."""

    state: Array  # [rows + 1]
    output: Array  # [rows + 1, rows, outputs]
    draw: Array  # [rows + 1, draws]

    @property
    def last(self) -> Array:
        """The last state's coefficients of x_T, of every output and of every draw, flat."""
        return np.concatenate([self.state[-1:], self.output[-1].ravel(), self.draw[-1]])


def unroll(rows: Sequence[Row]) -> Unrolled:
    """Run the rows on basis vectors. ValueError where a clamp or a gain makes a row nonlinear, and for operators."""
    _refuse_more_than_numbers(rows)
    count, outputs = len(rows), max(row.outputs for row in rows)
    draws = 1 + max((d for row in rows for d in row.draws), default=-1)
    basis = np.eye(1 + count * outputs + draws)
    x, aux = basis[0], np.zeros_like(basis[0])
    states, converted = [x], []
    for i, row in enumerate(rows):
        network = basis[1 + i * outputs :]
        converted.append([_convert(i, c, x, network) for c in row.converted])
        values = [x, aux, *converted[i], *(converted[p.row][p.h] for p in row.history)]
        values += [basis[1 + count * outputs + d] for d in row.draws]
        x, aux = _combine(row.x, values), aux if row.aux is None else _combine(row.aux, values)
        states.append(x)
    table = np.stack(states)
    output = table[:, 1 : 1 + count * outputs].reshape(count + 1, count, outputs)
    return Unrolled(table[:, 0], output, table[:, 1 + count * outputs :])


def _refuse_more_than_numbers(rows: Sequence[Row]) -> None:
    for number, row in enumerate(rows):
        if isinstance(row, Apply):
            raise ValueError(f"row {number}: {row}, whose numbers the plan does not know: it cannot be unrolled")
        if row.gains:
            raise ValueError(
                f"row {number} computes {row.gains[0].reduction} while it runs: it is not linear and cannot be unrolled"
            )


def _convert(row: int, conversion: Conversion, x: Array, network: Array) -> Array:
    if np.isfinite(conversion.bound):
        raise ValueError(f"row {row} clamps at {conversion.bound}: it is not linear and cannot be unrolled")
    y = conversion.p * x
    for q, output in zip(conversion.q, network, strict=False):
        y = y + q * output
    return conversion.scale * y


def _combine(weights: Combination, values: Sequence[Array]) -> Array:
    total = np.zeros_like(values[0])
    for weight, value in zip(weights.flat(with_aux=True), values, strict=True):
        total = total + weight * value
    return total
