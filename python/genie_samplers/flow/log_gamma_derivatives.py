"""Derivatives in s = log gamma of what a schedule knows as functions of t, by Chebyshev series around each time.

A network's label may be any function of t; labels are mostly linear in t or in s. The series is taken in the one of the
two in which it is nearer to linear, in a window that crosses no knot of the schedule.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from ..schedules import Schedule

__all__ = ["label_derivatives", "log_alpha_derivatives"]

Array = NDArray[np.float64]
Function = Callable[[Array], Array]

# The functions of the schedules are analytic in s with singularities at distance pi/2 (gamma = +-i), in t with one at
# t_zero, where t is about gamma^2: in a window of s -+ 0.25 the series fall by 12 and by 4 per term.
_TERMS, _REACH = 24, 0.25
_ANGLES = (np.arange(_TERMS) + 0.5) * (np.pi / _TERMS)
_NODES = np.cos(_ANGLES)
_FIT = np.cos(np.arange(_TERMS)[:, None] * _ANGLES) * (2.0 / _TERMS)
_FIT[0] *= 0.5
_NOISE = 4.0 * np.finfo(np.float64).eps


def log_alpha_derivatives(schedule: Schedule, t: Array) -> tuple[Array, Array]:
    """(d log alpha / ds, its derivative in s), float64 of t's shape [n]; the limits, 0 and 0, at ``t_zero``."""
    rate = _rate_of_log_alpha(schedule)

    def change(inside: Array) -> Array:
        # smooth across knots: of the tables, which are variance preserving, it is -sigma^2
        window = _Window(schedule, inside, knots=())
        return window.in_log_gamma(rate)[0]

    return rate(t), _where_noisy(schedule, t, change)


def label_derivatives(label: Function, schedule: Schedule, t: Array) -> tuple[Array, Array]:
    """First and second derivative of the label in s, float64 of t's shape [n]; at a knot those of the piece below.

    0 at ``t_zero``, where nothing moves along the flow.
    """

    def slopes(inside: Array) -> Array:
        window = _Window(schedule, inside, schedule.knots)
        in_t, in_s = window.in_time(label), window.in_log_gamma(label)
        return np.where(in_t[2] <= in_s[2], in_t, in_s)[:2]

    first, second = _where_noisy(schedule, t, slopes)
    return first, second


class _Window:
    """Around each of the times t [n], within the schedule's range and between two of ``knots``."""

    def __init__(self, schedule: Schedule, t: Array, knots: tuple[float, ...]) -> None:
        edges = np.array([schedule.t_zero, *knots, schedule.t_max])
        piece = np.searchsorted(edges, t, side="left")
        gamma = schedule.gamma(t)
        low = np.maximum(gamma * np.exp(-_REACH), schedule.gamma(edges[piece - 1]))
        high = np.minimum(gamma * np.exp(_REACH), schedule.gamma(edges[piece]))
        self.schedule, self.t, self.gamma = schedule, t, gamma
        self.gammas, self.times = (low, high), (schedule.time_of_gamma(low), schedule.time_of_gamma(high))

    def in_time(self, function: Function) -> Array:
        """[3, n]: first and second derivative in s, and how far from linear in t the function is."""
        low, high = self.times
        half = 0.5 * (high - low)
        place = np.clip((self.t - low) / half - 1.0, -1.0, 1.0)
        nodes = np.clip(low + half * (1.0 + _NODES[:, None]), low, high)
        first, second, bend = _derivatives(function, np.positive, self.t, nodes, half, place)
        speed = _time_per_log_gamma(self.schedule)
        change_of_speed = _derivatives(speed, np.positive, self.t, nodes, half, place)[0]
        dt = speed(self.t)
        return np.stack([first * dt, (second * dt + first * change_of_speed) * dt, bend])

    def in_log_gamma(self, function: Function) -> Array:
        """As :meth:`in_time`, with the series in s."""
        low, high = self.gammas
        half = 0.5 * np.log1p((high - low) / low)
        place = np.clip(np.log1p((self.gamma - low) / low) / half - 1.0, -1.0, 1.0)
        nodes = self.schedule.time_of_gamma(np.clip(low * np.exp(half * (1.0 + _NODES[:, None])), low, high))
        return np.stack(_derivatives(function, self.schedule.log_gamma, self.t, nodes, half, place))


def _derivatives(
    function: Function, variable: Function, t: Array, nodes: Array, half: Array, place: Array
) -> tuple[Array, Array, Array]:
    """First and second derivative in the variable at t, and the size of the bend, from the nodes [k, n].

    The series is that of function - slope * variable: what is linear but for rounded nodes comes out exactly.
    """
    at_nodes = np.asarray(function(nodes.ravel()), dtype=np.float64).reshape(nodes.shape)
    terms, steps = _FIT @ (at_nodes - function(t)), _FIT @ (variable(nodes) - variable(t))
    slope = terms[1] / steps[1]
    terms = terms - slope * steps
    sensitivity = np.abs(nodes).max(axis=0) * np.ptp(at_nodes, axis=0) / np.ptp(nodes, axis=0)
    noise = _NOISE * (np.abs(at_nodes).max(axis=0) + sensitivity)
    terms = np.where(np.abs(terms) <= noise, 0.0, terms)
    first = slope + chebyshev.chebval(place, chebyshev.chebder(terms), tensor=False) / half
    second = chebyshev.chebval(place, chebyshev.chebder(terms, 2), tensor=False) / half**2
    return first, second, np.abs(terms[2:]).sum(axis=0)


def _where_noisy(schedule: Schedule, t: Array, slopes: Function) -> Array:
    """``slopes(t)``, [..., n], with 0 where gamma is."""
    noisy = schedule.gamma(t) > 0.0
    values = slopes(np.where(noisy, t, schedule.t_max))
    return np.where(noisy, values, 0.0)


def _time_per_log_gamma(schedule: Schedule) -> Function:
    """dt/ds = 2 sigma^2 / G^2."""

    def speed(t: Array) -> Array:
        variance = schedule.sigma(t) ** 2
        return np.where(
            variance > 0.0, 2.0 * variance / np.where(variance > 0.0, schedule.diffusion_squared(t), 1.0), 0.0
        )

    return speed


def _rate_of_log_alpha(schedule: Schedule) -> Function:
    speed = _time_per_log_gamma(schedule)
    return lambda t: schedule.drift(t) * speed(t)
