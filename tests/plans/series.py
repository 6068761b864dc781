"""Truncated power series, to differentiate along a solution of an ODE exactly (Taylor mode)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import factorial

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

__all__ = ["Series", "derivatives_along_flow"]


class Series:
    """sum_k coefficients[k] h^k; all of one degree, coefficients of broadcastable shapes."""

    def __init__(self, coefficients: Sequence[Array | float]) -> None:
        self.coefficients = [np.asarray(c, dtype=np.float64) for c in coefficients]

    def __add__(self, other: Series | float | Array) -> Series:
        mine = self.coefficients
        if not isinstance(other, Series):
            return Series([mine[0] + other, *mine[1:]])
        return Series([a + b for a, b in zip(mine, other.coefficients, strict=True)])

    def __sub__(self, other: Series) -> Series:
        return self + -1.0 * other

    def __mul__(self, other: Series | float | Array) -> Series:
        mine = self.coefficients
        if not isinstance(other, Series):
            return Series([c * other for c in mine])
        theirs = other.coefficients
        return Series([sum(mine[i] * theirs[k - i] for i in range(k + 1)) for k in range(len(mine))])

    __rmul__ = __mul__

    def __truediv__(self, other: Series) -> Series:
        quotient: list[Array] = []
        for k, c in enumerate(self.coefficients):
            known = sum(quotient[i] * other.coefficients[k - i] for i in range(k))
            quotient.append((c - known) / other.coefficients[0])
        return Series(quotient)

    def map(self, f: Callable[[Array], Array]) -> Series:
        """A linear function, applied to every coefficient."""
        return Series([f(c) for c in self.coefficients])

    def exp(self) -> Series:
        inner, outer = self.coefficients, [np.exp(self.coefficients[0])]
        for k in range(1, len(inner)):
            outer.append(np.asarray(sum(i * inner[i] * outer[k - i] for i in range(1, k + 1))) / k)
        return Series(outer)

    def log(self) -> Series:
        inner, outer = self.coefficients, [np.log(self.coefficients[0])]
        for k in range(1, len(inner)):
            known = sum(i * outer[i] * inner[k - i] for i in range(1, k)) / k
            outer.append((inner[k] - known) / inner[0])
        return Series(outer)


def derivatives_along_flow(f: Callable[[Series, Series], Series], x: Array, gamma: float, count: int) -> list[Array]:
    """f, df/dgamma, .., ``count`` of them, along the solution of dx/dgamma = f(x, gamma) through x."""
    solution, derivatives = [x], list[Array]()
    for k in range(count):
        change = [gamma, *([1.0] if k else []), *([0.0] * (k - 1))]
        coefficient = f(Series(solution), Series(change)).coefficients[k]
        solution.append(coefficient / (k + 1))
        derivatives.append(factorial(k) * coefficient)
    return derivatives
