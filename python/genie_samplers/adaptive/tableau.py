"""Embedded Runge-Kutta pairs as float64 numbers, checked on construction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["DOPRI5", "EULER_CHANGE", "Tableau"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Tableau:
    """An explicit pair whose last stage stands at the new state ("first same as last", FSAL).

    With k_j the derivative at u + c_j h and v + h sum_l a[j, l] k_l: the new state is v + h sum b_j k_j, the error
    estimate h sum error_j k_j. ValueError naming the condition that the numbers miss by more than rounding.
    """

    c: Array  # [stages]
    a: Array  # [stages, stages], strictly lower triangular
    b: Array  # [stages]
    error: Array  # [stages]
    error_order: int  # of the lower of the two methods: the estimate shrinks as h^(error_order + 1)

    def __post_init__(self) -> None:
        for condition, difference in (
            ("a is strictly lower triangular", np.triu(self.a)),
            ("the row sums of a are c", self.a.sum(axis=1) - self.c),
            ("b sums to 1", self.b.sum() - 1.0),
            ("the weights of the error sum to 0", self.error.sum()),
            ("the last stage stands at the new state", self.a[-1] - self.b),
        ):
            if np.abs(difference).max() > 1e-14 * max(1.0, np.abs(self.a).sum(axis=1).max()):
                raise ValueError(f"tableau: it does not hold that {condition}; off by {np.abs(difference).max()}")

    @property
    def stages(self) -> int:
        return len(self.c)


def _tableau(
    c: Sequence[float], a: Sequence[Sequence[float]], b: Sequence[float], error: Sequence[float], error_order: int
) -> Tableau:
    lower = np.array([[*row, *(0.0,) * (len(c) - len(row))] for row in a])
    return Tableau(np.array(c), lower, np.array(b), np.array(error), error_order)


_B = (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0.0)

DOPRI5 = _tableau(
    c=(0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0),
    a=(
        (),
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
        _B,
    ),
    b=_B,
    error=(-71 / 57600, 0.0, 71 / 16695, -71 / 1920, 17253 / 339200, -22 / 525, 1 / 40),
    error_order=4,
)
"""Dormand and Prince's 5(4) pair (J. Comp. Appl. Math. 6, 1980)."""

EULER_CHANGE = _tableau(c=(0.0, 1.0), a=((), (1.0,)), b=(1.0, 0.0), error=(-1.0, 1.0), error_order=0)
"""An Euler step whose "error" is h times the change of the derivative: the probe that chooses the first step."""
