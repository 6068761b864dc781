"""Integrals of polynomials in u over d(gamma), for u = t, gamma or log gamma, in the working precision.

In closed form for gamma and log gamma; by parts for t, so that only gamma(t) is evaluated and no inverse is needed: the
library integrates over log gamma instead. Unlike the moments of exact_weights, those of t may reach t_zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import pairwise

from mpmath import mp, mpf
from mpmath.calculus.quadrature import GaussLegendre

from ..exact_weights import gamma_antiderivative, lagrange_powers, log_antiderivative
from .schedules import Real, TextbookSchedule

__all__ = ["lagrange_integrals", "legendre_nodes", "moments"]

DEGREE = 7  # of the polynomial through four values and four derivatives


def lagrange_integrals(nodes: list[Real], moments: Sequence[Real]) -> list[Real]:
    """For each node, the integral of the Lagrange polynomial that is 1 there, from the integrals of 1, u, u^2, .."""
    return [mp.fdot(lagrange_powers(nodes, j), moments[: len(nodes)]) for j in range(len(nodes))]


@cache
def moments(schedule: TextbookSchedule, variable: str, t: Real, t_next: Real, sign: int = 1) -> list[Real]:
    """Integrals of u^k d(gamma^sign) from t to t_next, k = 0 .. DEGREE. sign = -1: over kappa = 1 / gamma."""
    if variable == "t":
        if sign != 1:
            raise NotImplementedError("moments of t over kappa")
        return _moments_of_t(schedule, t, t_next)
    antiderivative = {"gamma": gamma_antiderivative, "log_gamma": log_antiderivative}[variable]
    before, after = schedule.gamma(t), schedule.gamma(t_next)
    return [antiderivative(k, sign, after) - antiderivative(k, sign, before) for k in range(DEGREE + 1)]


def _moments_of_t(schedule: TextbookSchedule, t: Real, t_next: Real) -> list[Real]:
    """Integral of t^k dgamma = [t^k gamma] - k integral of t^(k-1) gamma dt, over r = sqrt(t - t_zero), in which gamma
    is smooth at t_zero too."""
    areas = [mpf(0)] * DEGREE
    for low, high in _panels(schedule, min(t, t_next), max(t, t_next)):
        for r, weight in legendre_nodes(mp.sqrt(low - schedule.t_zero), mp.sqrt(high - schedule.t_zero)):
            time = schedule.t_zero + r**2
            area = weight * 2 * r * schedule.gamma(time)
            for k in range(DEGREE):
                areas[k] += area
                area *= time
    rise = [t_next**k * schedule.gamma(t_next) - t**k * schedule.gamma(t) for k in range(DEGREE + 1)]
    direction = 1 if t < t_next else -1
    return [rise[0], *(rise[k] - direction * k * areas[k - 1] for k in range(1, DEGREE + 1))]


def _panels(schedule: TextbookSchedule, low: Real, high: Real) -> list[tuple[Real, Real]]:
    """Between the knots, and where gamma runs towards a pole cut until it grows by less than e."""
    ends = [low, *(k for k in schedule.knots if low < k < high), high]
    return [panel for piece in pairwise(ends) for panel in _cut(schedule, *piece)]


def _cut(schedule: TextbookSchedule, low: Real, high: Real) -> list[tuple[Real, Real]]:
    if schedule.gamma(high) <= max(1, mp.e * schedule.gamma(low)):
        return [(low, high)]
    middle = (low + high) / 2
    return _cut(schedule, low, middle) + _cut(schedule, middle, high)


def legendre_nodes(low: Real, high: Real) -> list[tuple[Real, Real]]:
    """24 nodes inside (low, high) and their weights."""
    middle, half = (low + high) / 2, (high - low) / 2
    return [(middle + half * node, half * weight) for node, weight in _standard_nodes()]


@cache
def _standard_nodes() -> list[tuple[Real, Real]]:
    return GaussLegendre(mp).calc_nodes(4, mp.prec + 20)
