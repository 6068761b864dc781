"""How smooth epsilon is along a network's own flow, and what that says of solvers that use its derivative."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["WIDTHS", "Advice", "Diagnosis"]

WIDTHS = (0.01, 0.1)
"""How far, in log gamma, the finite differences reach that the derivative is compared with."""

_ROUGH = 0.05  # far above what smooth networks show at 1 % of gamma, far below what rough ones do

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Advice:
    """solver: a registered name; options: for :func:`registry.make_plan`; reason: why, in words."""

    solver: str
    options: Mapping[str, object]
    reason: str


@dataclass(frozen=True)
class Diagnosis:
    """One entry per gamma, falling; float64. Norms are over all samples together; NaN where epsilon does not change.

    step: size of a step, in log gamma. change [n]: of epsilon over the next step, relative to epsilon. roughness
    [n, 2]: how far a central difference over +-:data:`WIDTHS` is from the derivative, relative to the difference.
    with_derivative, with_past [n]: the error of epsilon's straight line in log gamma to the end of the next step,
    relative to the change: 1 is no better than a constant epsilon. The line has the exact derivative as its slope
    (genie_ttm2 in log gamma), or passes through epsilon one step before (deis_log_ab1).
    """

    nfe: int
    step: float
    gamma: Array
    change: Array
    roughness: Array
    with_derivative: Array
    with_past: Array

    @property
    def helps(self) -> NDArray[np.bool_]:
        """[n]: the derivative is better than the past, and better than nothing."""
        return (self.with_derivative < 1.0) & (self.with_derivative < self.with_past)

    @property
    def typical_roughness(self) -> float:
        """At 1 % of gamma, the median over the gammas."""
        return float(np.median(self.roughness[:, 0]))

    @property
    def derivative_below(self) -> float:
        """Threshold for the solvers: from this gamma on down the derivative always helps; inf: everywhere; 0: nowhere.

        Everywhere and nowhere are said of the gammas that were looked at.
        """
        lasting = np.logical_and.accumulate(self.helps[::-1])[::-1]
        if lasting.all():
            return np.inf
        return float(self.gamma[lasting].max(initial=0.0))

    @property
    def usable(self) -> bool:
        """The derivative helps down from some gamma over at least half of what the steps cross."""
        return bool(np.mean(self.gamma <= self.derivative_below) >= 0.5)

    def advice(self) -> Advice:
        """What to sample with, as far as smoothness tells."""
        rough = self.typical_roughness > _ROUGH
        found = f"{'rough' if rough else 'smooth'} ({self.typical_roughness:.2%} at 1 % of gamma)"
        threshold = self.derivative_below
        if self.usable:
            where = "at every gamma" if threshold == np.inf else f"below gamma = {threshold:.3g}"
            reason = f"{found}; per evaluation the exact derivative beats the past epsilon {where}"
            return Advice("genie_hermite3", {"derivative": "exact", "derivative_below": threshold}, reason)
        if rough:
            reason = f"{found}; the exact derivative is that of ripples, only a step-scale head can help"
        else:
            reason = f"{found}; the exact derivative does not beat the past epsilon over steps this long"
        return Advice("ipndm", {}, reason)
