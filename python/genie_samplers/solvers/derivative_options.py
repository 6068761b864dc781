"""Options of the solvers that read derivatives of epsilon, from a network or a head, or start without the network."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._arguments import boolean, choice, real
from ..schedules import Schedule

__all__ = ["DERIVATIVES", "DERIVATIVE_BELOW", "DerivativeOptions", "checked_derivative_options", "gamma_d_epsilon"]

_LARGEST = float(np.finfo(np.float64).max)
DERIVATIVE_BELOW: Mapping[str, float | None] = MappingProxyType({"exact": None, "head": 100.0, "correction": None})
"""Kind of derivative -> the gamma up to which it is used by default, None for everywhere: measured (docs/genie.md)."""

DERIVATIVES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"exact": ("gamma_d_epsilon",), "head": ("k1", "k2", "k3"), "correction": ("c1", "c2", "c3")}
)
"""Kind of derivative -> names of the outputs after the prediction."""


class DerivativeOptions(NamedTuple):
    """Checked options that the solvers with derivatives share; of :func:`checked_derivative_options`."""

    derivative: str
    derivative_below: float | None
    afs: bool

    def used(self, schedule: Schedule, times: NDArray[np.float64]) -> list[bool]:
        """For each time whether its derivative is used: 0 < gamma <= derivative_below, finite, network asked."""
        gamma = schedule.gamma(times)
        below = (gamma > 0.0) & (gamma <= (_LARGEST if self.derivative_below is None else self.derivative_below))
        below[0] &= not self.analytic_start(schedule, times)
        return below.tolist()

    def analytic_start(self, schedule: Schedule, times: NDArray[np.float64]) -> bool:
        """Whether the first row asks no network: ``afs``, and the grid starts at t_max, where the state is pure noise.

        A plan of the same recipe from a later time (``starting_at``) starts from a noisy image, and asks.
        ValueError on a rising grid.
        """
        if self.afs and times[1] > times[0]:
            raise ValueError("afs=True on a rising grid; encoding starts from data, not from noise, so use afs=False")
        return self.afs and bool(times[0] == schedule.t_max)


def checked_derivative_options(derivative: str, derivative_below: float | str | None, afs: bool) -> DerivativeOptions:
    """ValueError or TypeError naming the option; an infinite threshold becomes None, which JSON can write."""
    derivative = choice(derivative, "derivative", DERIVATIVES)
    if derivative_below == "default":
        derivative_below = DERIVATIVE_BELOW[derivative]
    threshold = np.inf if derivative_below is None else real(derivative_below, "derivative_below")
    if not threshold > 0.0:
        raise ValueError(f"derivative_below={threshold}; give a gamma > 0, or None to use every derivative")
    finite = None if threshold == np.inf else threshold
    return DerivativeOptions(derivative, finite, boolean(afs, "afs"))


def gamma_d_epsilon(kind: str, schedule: Schedule, time: float) -> tuple[float, ...]:
    """Weights of the outputs in gamma d epsilon / d gamma; of a head -k1 + gamma^2/(1+gamma^2) k2 + 1/(1+gamma^2) k3.

    GENIE's mixed parameterisation, times gamma: no weight exceeds 1. Dockhorn et al., arXiv 2210.05475.
    """
    if kind == "exact":
        return (1.0,)
    alpha, sigma = float(schedule.alpha(time)), float(schedule.sigma(time))
    power = alpha**2 + sigma**2
    return -1.0, sigma**2 / power, alpha**2 / power
