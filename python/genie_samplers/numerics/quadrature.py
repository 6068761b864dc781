"""Integrals over a step, in log gamma, by Gauss-Legendre panels."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..schedules import Schedule
from .variables import node_values

__all__ = ["UNIT_NODES", "UNIT_WEIGHTS", "StepNodes", "nodes_of_step", "step_integral"]

Array = NDArray[np.float64]
Step = tuple[float, float]  # anchor, far
Function = Callable[[Array], Array]

# 32 Gauss-Legendre nodes on (0, 1). The integrands are analytic in log gamma with singularities at
# distance pi/2 from the real axis (gamma = +-i), so on a panel of width 4 their error is below
# 2.05^-64 = 1e-20; a step, or an interval between two knots, that is wider is cut into panels.
_LEGENDRE_NODES, _LEGENDRE_WEIGHTS = np.polynomial.legendre.leggauss(32)
UNIT_NODES, UNIT_WEIGHTS = 0.5 + 0.5 * _LEGENDRE_NODES, 0.5 * _LEGENDRE_WEIGHTS
_PANEL_WIDTH = 4.0
_AT_ONCE = 8192  # nodes: several arrays of them fit a cache
_DEEPEST = 60.0  # e^-60: what lies deeper, on the way to gamma = 0, is below rounding


class StepNodes(NamedTuple):
    """Nodes y = |log gamma - log gamma(anchor)| between the two times of a step, and their weights times e^-y, [n].

    With the anchor at the upper end the sum over them is an integral over gamma, with the anchor at the lower end one
    over kappa, each in units of its value at the anchor. ``values``: the variable of this name, or a function of time,
    at the nodes.
    """

    measure: Array
    values: Callable[[str | Function], Array]


def step_integral(schedule: Schedule, t: float, t_next: float, f: Function) -> float:
    """Integral of f(time) dgamma from ``t`` to ``t_next``; f takes times of any shape and is smooth between knots."""
    now, after = float(schedule.gamma(t)), float(schedule.gamma(t_next))
    anchor, far = (t, t_next) if now > after else (t_next, t)
    nodes = nodes_of_step(schedule, anchor, far)
    return float(np.sign(after - now) * max(now, after) * np.sum(nodes.measure * nodes.values(f)))


def nodes_of_step(schedule: Schedule, anchor: float, far: float) -> StepNodes:
    """Of one step; those of all steps that the schedule expects (``remembered_steps``) are computed at once."""
    anchor, far = float(anchor), float(far)
    rising = far > anchor
    expected = schedule.remember(("nodes", rising), lambda: _Nodes(schedule, _expected(schedule, rising=rising)))
    if (anchor, far) in expected.places:
        return expected.of((anchor, far))
    alone = schedule.remember(("nodes", anchor, far), lambda: _Nodes(schedule, [(anchor, far)]))
    return alone.of((anchor, far))


def _expected(schedule: Schedule, *, rising: bool) -> list[Step]:
    """The steps anchored below if ``rising``, else above, without those whose anchor has no finite log gamma."""
    pairs = ((min(step), max(step)) if rising else (max(step), min(step)) for step in schedule.remembered_steps)
    return [step for step in pairs if 0.0 < schedule.gamma(step[0]) < np.inf]


class _Nodes:
    """The nodes of several steps in one array; the anchors all lie at their lower ends, or all at their upper ends."""

    def __init__(self, schedule: Schedule, steps: list[Step]) -> None:
        self.schedule, self.anchors = schedule, np.array([anchor for anchor, _ in steps])
        self.places: Mapping[Step, slice] = {}
        self._values: dict[str | Function, Array] = {}
        if not steps:
            return
        left, width, panels = _panels(*_edges(schedule, steps))
        y, measure = np.multiply.outer(width, UNIT_NODES), np.multiply.outer(width, UNIT_WEIGHTS)
        y += left[:, None]  # in place: fresh memory of this size costs as much as the arithmetic
        decay = np.negative(y)
        np.exp(decay, out=decay)
        measure *= decay
        self.y, self.decay, self.measure = y.ravel(), decay.ravel(), measure.ravel()
        self.rising = steps[0][1] > steps[0][0]
        self.counts = panels * UNIT_NODES.size
        ends = np.cumsum(self.counts)
        bounds = zip(steps, (ends - self.counts).tolist(), ends.tolist(), strict=True)
        self.places = {step: slice(start, end) for step, start, end in bounds}

    def of(self, step: Step) -> StepNodes:
        place = self.places[step]
        return StepNodes(self.measure[place], lambda variable: self._all(variable)[place])

    def _all(self, variable: str | Function) -> Array:
        if variable not in self._values:
            self._values[variable] = self._computed(variable)
        return self._values[variable]

    def _computed(self, variable: str | Function) -> Array:
        if not isinstance(variable, str):
            return variable(self._all("t"))
        if variable == "t":
            parts = np.array_split(self._all("gamma"), 1 + self.y.size // _AT_ONCE)
            return np.concatenate([self.schedule.time_of_gamma(part) for part in parts])
        values = np.repeat(node_values(self.schedule, self.anchors, variable), self.counts)
        if variable == "log_gamma":
            return np.add(values, self.y, out=values) if self.rising else np.subtract(values, self.y, out=values)
        values *= np.exp(self.y) if self.rising else self.decay
        return values


def _edges(schedule: Schedule, steps: list[Step]) -> tuple[Array, NDArray[np.intp]]:
    """y at the anchor, the knots of the schedule on the way and the far end of each step, rising from 0; their ends."""
    knots, all_times = np.array(schedule.knots), []
    for anchor, far in steps:
        low, high = min(anchor, far), max(anchor, far)
        between = knots[bisect_right(schedule.knots, low) : bisect_left(schedule.knots, high)]
        all_times += ((anchor,), between if far > anchor else between[::-1], (far,))
    counts, times = [len(knots) + 2 for knots in all_times[1::3]], np.concatenate(all_times)
    anchors = np.array([anchor for anchor, _ in steps])
    least = np.minimum(schedule.gamma(times), np.repeat(schedule.gamma(anchors), counts))
    with np.errstate(divide="ignore"):
        edges = np.log1p(np.abs(schedule.gamma_change(np.repeat(anchors, counts), times)) / least)
    ends = np.cumsum(counts)
    for start, end in zip((ends - counts).tolist(), ends.tolist(), strict=True):
        if not np.isfinite(edges[end - 1]):
            edges[start:end] = np.minimum(edges[start:end], _DEEPEST)
    return edges, ends


def _panels(edges: Array, ends: NDArray[np.intp]) -> tuple[Array, Array, NDArray[np.intp]]:
    """Left ends and widths of panels no wider than ``_PANEL_WIDTH`` that tile the intervals; how many each step has."""
    whole = np.diff(edges)
    whole[ends[:-1] - 1] = 0.0  # between two steps there is no interval
    counts = np.ceil(whole / _PANEL_WIDTH).astype(np.intp)
    width = np.repeat(whole / np.maximum(counts, 1), counts)
    before = np.cumsum(counts) - counts
    place = np.arange(counts.sum()) - np.repeat(before, counts)
    totals = np.add.reduceat(counts, np.concatenate(([0], ends[:-1])))
    return np.repeat(edges[:-1], counts) + place * width, width, totals
