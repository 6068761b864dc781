"""Levenberg-Marquardt for few unknowns and an expensive residual."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Solution", "least_squares"]

Array = NDArray[np.float64]

_DIFFERENCE = 0.02
_LONGEST = 1.0  # step of an unknown
_FIRST_DAMPING, _MORE, _LESS = 1e-2, 5.0, 0.2
_SMALL_GAIN = 2e-3  # of the sum of squares


class Solution(NamedTuple):
    point: Array
    residual: Array
    evaluations: int


def least_squares(
    residual: Callable[[Array], Array],
    start: Array,
    start_residual: Array,
    *,
    allowed: Callable[[Array], bool],
    evaluations: int,
) -> Solution:
    """A local minimum of the sum of squares of residual(point), from ``start``, within ``evaluations`` of it.

    The Jacobian comes from forward differences and is then kept up to date by Broyden's rank-one correction; it is
    measured anew where the steps it proposes fail. allowed: points that may be evaluated.
    """
    search = _Search(residual, start, start_residual, evaluations)
    while search.left > len(start):
        search.measure_jacobian()
        before = search.squares
        search.descend(allowed)
        if before - search.squares <= _SMALL_GAIN * before:
            break
    return Solution(search.point, search.value, evaluations - search.left)


class _Search:
    """The best point so far, its residual, and the Jacobian (one row per unknown) near it."""

    def __init__(self, residual: Callable[[Array], Array], start: Array, value: Array, evaluations: int) -> None:
        self.residual, self.point, self.value, self.left = residual, start, value, evaluations
        self.jacobian = np.zeros((0, 0))

    @property
    def squares(self) -> float:
        return float(self.value @ self.value)

    def evaluate(self, point: Array) -> Array:
        self.left -= 1
        return self.residual(point)

    def measure_jacobian(self) -> None:
        self.damping = _FIRST_DAMPING
        moved = self.point + _DIFFERENCE * np.eye(len(self.point))
        self.jacobian = np.stack([(self.evaluate(point) - self.value) / _DIFFERENCE for point in moved])

    def descend(self, allowed: Callable[[Array], bool]) -> None:
        """Steps until the next one promises little, the last one gained little, or the evaluations are used up."""
        while self.left > 0:
            step = self._step(allowed)
            change = step @ self.jacobian
            promised = self.squares - float(np.sum((self.value + change) ** 2))
            if promised <= _SMALL_GAIN * self.squares:
                return
            value = self.evaluate(self.point + step)
            gained = self.squares - float(value @ value)
            if gained > -self.squares:  # a secant across a much larger residual says nothing about the slope here
                self.jacobian += np.outer(step, value - self.value - change) / (step @ step)
            if gained <= 0.0:
                self.damping *= _MORE
                continue
            little = gained <= _SMALL_GAIN * self.squares
            self.damping *= _LESS
            self.point, self.value = self.point + step, value
            if little:
                return

    def _step(self, allowed: Callable[[Array], bool]) -> Array:
        """The damped Gauss-Newton step, damped further until it is short enough and its end allowed."""
        squares, gradient = self.jacobian @ self.jacobian.T, self.jacobian @ self.value
        scale = np.diag(np.diag(squares) + np.finfo(float).tiny)
        while True:
            step = -np.linalg.solve(squares + self.damping * scale, gradient)
            if np.max(np.abs(step)) <= _LONGEST and allowed(self.point + step):
                return step
            self.damping *= _MORE
