"""Schedules and step formulas in mpmath, for comparison with float64."""

from __future__ import annotations

from typing import Any

import mpmath as mp
import numpy as np
from numpy.typing import NDArray

from genie_samplers import Plan

Real = Any  # an mpf; mpmath has no types


class MpVP:
    """VP linear 0.1 / 20 in mpmath."""

    low, slope = mp.mpf(0.1), mp.mpf(20.0) - mp.mpf(0.1)

    def alpha(self, t: Real) -> Real:
        return mp.exp(-t * t * self.slope / 4 - t * self.low / 2)

    def gamma(self, t: Real) -> Real:
        return mp.sqrt(self.alpha(t) ** -2 - 1)

    def time(self, gamma: Real) -> Real:
        decay = mp.log(1 + gamma**2)
        return (mp.sqrt(self.low**2 + 2 * self.slope * decay) - self.low) / self.slope


class MpEDM:
    """EDM in mpmath."""

    def alpha(self, t: Real) -> Real:
        return mp.mpf(1)

    def gamma(self, t: Real) -> Real:
        return t

    def time(self, gamma: Real) -> Real:
        return gamma


MP = {"vp_linear": MpVP(), "edm": MpEDM()}


def sigma(exact: MpVP | MpEDM, t: Real) -> Real:
    return exact.alpha(t) * exact.gamma(t)


def exact_tab_row(exact: MpVP | MpEDM, times: NDArray[np.float64], n: int, order: int) -> list[Real]:
    """C_{n,j} = a' int l_j(t(rho)) drho, the integral taken in log rho by mpmath."""
    nodes = [mp.mpf(float(t)) for t in times[n - min(order, n) : n + 1][::-1]]
    t_next = mp.mpf(float(times[n + 1]))
    ends = [mp.log(exact.gamma(nodes[0])), mp.log(exact.gamma(t_next))]

    def lagrange(j: int, t: Real) -> Real:
        return mp.fprod((t - u) / (nodes[j] - u) for k, u in enumerate(nodes) if k != j)

    def integral(j: int) -> Real:
        return mp.quad(lambda y: mp.exp(y) * lagrange(j, exact.time(mp.exp(y))), ends)

    return [exact.alpha(t_next) * integral(j) for j in range(len(nodes))]


def weights(plan: Plan, row: int) -> list[float]:
    """The row's weights of the converted outputs, newest first."""
    x = plan.instructions[row].x
    return [*x.y, *x.history]


def relative_error(actual: list[float], exact: list[Real]) -> float:
    """Largest difference over the row's largest coefficient."""
    return float(max(abs(a - e) for a, e in zip(actual, exact, strict=True)) / max(map(abs, exact)))
