"""What a textbook sampler is given, and the vectors that it works on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from mpmath import mpf
from numpy.typing import NDArray

from .schedules import Real, TextbookSchedule

__all__ = ["Run", "Vector", "combination"]


@dataclass(frozen=True)
class Vector:
    """Coefficients of [x_T, the network's outputs in the order of the calls, the draws] by position; 0 where absent."""

    coefficients: Mapping[int, Real]

    def __add__(self, other: Vector) -> Vector:
        mine, theirs = self.coefficients, other.coefficients
        return Vector({**mine, **{k: mine[k] + c if k in mine else c for k, c in theirs.items()}})

    def __sub__(self, other: Vector) -> Vector:
        return self + other * -1

    def __mul__(self, factor: Real) -> Vector:
        return Vector({k: c * factor for k, c in self.coefficients.items()})

    __rmul__ = __mul__

    def __truediv__(self, divisor: Real) -> Vector:
        return Vector({k: c / divisor for k, c in self.coefficients.items()})

    def rounded(self, size: int) -> NDArray[np.float64]:
        return np.array([float(self.coefficients.get(k, 0)) for k in range(size)])


def combination(weights: Iterable[Real], vectors: Iterable[Vector]) -> Vector:
    return sum((w * vector for w, vector in zip(weights, vectors, strict=True)), Vector({}))


class Run:
    """A start, a source of noise and a network; every output of every answer is a basis vector of its own.

    ``asked`` records the times and states that the network is given. ``outputs``: how many it returns each time.
    """

    def __init__(
        self,
        schedule: TextbookSchedule,
        times: list[Real],
        *,
        prediction: str,
        evaluations: int,
        draws: int,
        outputs: int = 1,
    ) -> None:
        self.schedule, self.times, self.prediction = schedule, times, prediction
        self.asked: list[tuple[Real, Vector]] = []
        x_T, *given = (Vector({k: mpf(1)}) for k in range(1 + evaluations * outputs + draws))
        self.x_T, self._draws = x_T, given[evaluations * outputs :]
        self._answers = [given[n * outputs : (n + 1) * outputs] for n in range(evaluations)]

    @property
    def steps(self) -> list[tuple[Real, Real]]:
        return list(pairwise(self.times))

    def epsilon(self, x: Vector, t: Real) -> Vector:
        """The network's prediction of epsilon."""
        return self.evaluated(x, t)[0]

    def evaluated(self, x: Vector, t: Real) -> tuple[Vector, list[Vector]]:
        """epsilon, and the outputs after it. The first is p x0 + q epsilon, and x is alpha x0 + sigma epsilon."""
        self.asked.append((t, x))
        first, *others = self._answers.pop(0)
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        p, q = {
            "epsilon": lambda: (0, 1),
            "x0": lambda: (1, 0),
            "v": lambda: (-sigma, alpha),
            "score": lambda: (0, -1 / sigma),
            "flow": lambda: (-1, 1),
        }[self.prediction]()
        return (alpha * first - p * x) / (alpha * q - sigma * p), others

    def x0(self, x: Vector, t: Real) -> Vector:
        """The network's prediction of x0."""
        return (x - self.schedule.sigma(t) * self.epsilon(x, t)) / self.schedule.alpha(t)

    def normal(self) -> Vector:
        return self._draws.pop(0)

    @property
    def left_over(self) -> int:
        """Evaluations and draws that were not used."""
        return len(self._answers) + len(self._draws)
