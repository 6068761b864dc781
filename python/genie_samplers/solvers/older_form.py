"""Plans of files that were written when rows had another form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..plan import Plan, Row

__all__ = ["is_older_form"]

_ROUNDING = 16 * np.finfo(np.float64).eps


def is_older_form(plan: Plan, rebuilt: Plan) -> bool:
    """Whether a plan, of a file, differs only in that its rows of v, x0 and flow networks make no x0 of their own, or
    its analytic row has two terms where now is one; but for rounding it does the same.
    """
    described = (plan.init, plan.outputs, plan.quantity, len(plan.rows))
    alike = described == (rebuilt.init, rebuilt.outputs, rebuilt.quantity, len(rebuilt.rows))
    return alike and plan.rows != rebuilt.rows and all(map(_is_older_row, plan.rows, rebuilt.rows))


def _is_older_row(row: Row, rebuilt: Row) -> bool:
    if rebuilt.x0 is None and rebuilt.calls:
        return row == rebuilt
    aux = None if rebuilt.aux is None else replace(rebuilt.aux, y=rebuilt.aux.y[:1])
    x = replace(rebuilt.x, x=row.x.x, y=row.x.y)
    described = row in (rebuilt, replace(rebuilt, x=x, aux=aux, converted=rebuilt.converted[:1]))
    (before, terms), (now, _) = _sums(row), _sums(rebuilt)
    return described and bool(np.all(np.abs(before - now) <= _ROUNDING * terms))


def _sums(row: Row) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What multiplies the state and the outputs in the row's result, and the same without signs."""
    terms = np.array([[row.x.x, *(0.0 for _ in row.converted[0].q)]])
    of_y = np.array(
        [[weight * c.p, *(weight * q for q in c.q)] for weight, c in zip(row.x.y, row.converted, strict=True)]
    )
    terms = np.concatenate([terms, of_y])
    return terms.sum(axis=0), np.abs(terms).sum(axis=0)
