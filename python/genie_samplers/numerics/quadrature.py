"""Integrals over a step, in log gamma, by Gauss-Legendre panels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..schedules import Schedule

__all__ = ["UNIT_NODES", "UNIT_WEIGHTS", "decaying_measure", "step_integral"]

Array = NDArray[np.float64]

# 32 Gauss-Legendre nodes on (0, 1). The integrands are analytic in log gamma with singularities at
# distance pi/2 from the real axis (gamma = +-i), so on a panel of width 4 their error is below
# 2.05^-64 = 1e-20; a step, or an interval between two knots, that is wider is cut into panels.
_LEGENDRE_NODES, _LEGENDRE_WEIGHTS = np.polynomial.legendre.leggauss(32)
UNIT_NODES, UNIT_WEIGHTS = 0.5 + 0.5 * _LEGENDRE_NODES, 0.5 * _LEGENDRE_WEIGHTS
_PANEL_WIDTH = 4.0
_DEEPEST = 60.0  # e^-60: what lies deeper, on the way to gamma = 0, is below rounding


def step_integral(schedule: Schedule, t: float, t_next: float, f: Callable[[Array], Array]) -> float:
    """Integral of f(time) dgamma from ``t`` to ``t_next``; f takes times of any shape and is smooth between knots."""
    now, after = float(schedule.gamma(t)), float(schedule.gamma(t_next))
    anchor, far = (t, t_next) if now > after else (t_next, t)
    y, measure = decaying_measure(schedule, anchor, far)
    values = f(schedule.time_of_gamma(float(schedule.gamma(anchor)) * np.exp(-y)))
    return float(np.sign(after - now) * max(now, after) * np.sum(measure * values))


def decaying_measure(schedule: Schedule, anchor: float, far: float) -> tuple[Array, Array]:
    """Nodes y = |log gamma - log gamma(anchor)| between the two times, and their weights times e^-y.

    With the anchor at the upper end the sum over them is an integral over gamma, with the anchor at the lower end one
    over kappa, each in units of its value at the anchor.
    """
    return schedule.remember(("measure", anchor, far), lambda: _decaying_measure(schedule, anchor, far))


def _decaying_measure(schedule: Schedule, anchor: float, far: float) -> tuple[Array, Array]:
    left, width = _panels(_edges(schedule, anchor, far))
    y = left[:, None] + width[:, None] * UNIT_NODES
    return y, width[:, None] * UNIT_WEIGHTS * np.exp(-y)


def _edges(schedule: Schedule, anchor: float, far: float) -> Array:
    """y at the anchor, the knots of the schedule on the way and the far end, rising from 0."""
    knots = np.array(schedule.knots)
    knots = knots[(knots > min(anchor, far)) & (knots < max(anchor, far))]
    times = np.concatenate(([anchor], knots if far > anchor else knots[::-1], [far]))
    least = np.minimum(schedule.gamma(times), schedule.gamma(anchor))
    with np.errstate(divide="ignore"):
        edges = np.log1p(np.abs(schedule.gamma_change(anchor, times)) / least)
    return edges if np.isfinite(edges[-1]) else np.minimum(edges, _DEEPEST)


def _panels(edges: Array) -> tuple[Array, Array]:
    """Left ends and widths of panels no wider than ``_PANEL_WIDTH`` that tile the intervals."""
    counts = np.ceil(np.diff(edges) / _PANEL_WIDTH).astype(np.intp)
    width = np.repeat(np.diff(edges) / np.maximum(counts, 1), counts)
    place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.repeat(edges[:-1], counts) + place * width, width
