"""Butcher tableaus of explicit Runge-Kutta methods in exact fractions, checked on construction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

__all__ = ["TABLEAUS", "Tableau", "butcher"]

Array = NDArray[np.float64]
Weights = tuple[Fraction, ...]


@dataclass(frozen=True)
class Tableau:
    """An explicit method for dv/du = f(u, v), alone or with an estimate of its error; made by :func:`butcher`.

    With k_i = f(u + c_i h, v + h sum_j a_ij k_j) the new state is v + h sum_j b_j k_j and the error estimate, where
    there is one, h sum_j error_j k_j. order: of the method; error_order: of the lower one of the pair, so that the
    estimate shrinks as h^(error_order + 1). ValueError naming the condition that the fractions break, up to order 4.
    """

    order: int
    a: tuple[Weights, ...]  # row i has i entries: strictly lower triangular
    b: Weights
    error: Weights | None = None
    error_order: int = 0

    def __post_init__(self) -> None:
        if [len(row) for row in self.a] != list(range(len(self.b))):
            raise ValueError(f"a has rows of {[len(row) for row in self.a]} entries; need 0, 1, .. {len(self.b) - 1}")
        if len(self.b if self.error is None else self.error) != len(self.b):
            raise ValueError(f"error={self.error}: need {len(self.b)} weights, as b, or None")
        for order, name, values, exact in self._conditions():
            self._check("b", self.b, order <= self.order, name, values, exact)
            if self.error is not None:
                self._check("error", self.error, order <= max(1, self.error_order), name, values, Fraction(0))

    @property
    def stages(self) -> int:
        return len(self.b)

    @property
    def c(self) -> Weights:
        """Each stage's place in the step: its row's sum."""
        return tuple(sum(row, Fraction(0)) for row in self.a)

    @property
    def first_same_as_last(self) -> bool:
        """Whether the last stage stands at the new state, so that its f is the first of the next step."""
        return (*self.a[-1], Fraction(0)) == self.b

    @cached_property
    def a_array(self) -> Array:
        """Float64 [stages, stages]."""
        return np.array([[float(v) for v in row] + [0.0] * (self.stages - len(row)) for row in self.a])

    @cached_property
    def c_array(self) -> Array:
        """Float64 [stages]."""
        return np.array([float(v) for v in self.c])

    @cached_property
    def error_array(self) -> Array:
        """Float64 [stages]; ValueError without an error estimate."""
        if self.error is None:
            raise ValueError("tableau: has no error estimate; take an embedded pair")
        return np.array([float(v) for v in self.error])

    def _conditions(self) -> Iterator[tuple[int, str, Weights, Fraction]]:
        """Order, name, a vector over the stages, and what the weights must make of it: one for each rooted tree."""
        c = self.c
        ac, ac2 = self._times(c), self._times([v**2 for v in c])
        yield 1, "1", (Fraction(1),) * self.stages, Fraction(1)
        yield 2, "c", c, Fraction(1, 2)
        yield 3, "c^2", tuple(v**2 for v in c), Fraction(1, 3)
        yield 3, "a c", ac, Fraction(1, 6)
        yield 4, "c^3", tuple(v**3 for v in c), Fraction(1, 4)
        yield 4, "c (a c)", tuple(v * w for v, w in zip(c, ac, strict=True)), Fraction(1, 8)
        yield 4, "a c^2", ac2, Fraction(1, 12)
        yield 4, "a a c", self._times(ac), Fraction(1, 24)

    def _times(self, values: Sequence[Fraction]) -> Weights:
        return tuple(sum((w * v for w, v in zip(row, values, strict=False)), Fraction(0)) for row in self.a)

    @staticmethod
    def _check(weights: str, given: Weights, needed: bool, name: str, values: Weights, exact: Fraction) -> None:
        found = sum((w * v for w, v in zip(given, values, strict=True)), Fraction(0))
        if needed and found != exact:
            raise ValueError(f"{weights}: sum of {weights} * {name} is {found}; the order asks for {exact}")


def butcher(
    order: int,
    a: Sequence[Sequence[str | int]],
    b: Sequence[str | int],
    *,
    error: Sequence[str | int] | None = None,
    error_order: int = 0,
) -> Tableau:
    """The tableau of fractions such as "2/3"; rows of ``a`` from the second stage on."""
    rows = ((), *(_fractions(row) for row in a))
    return Tableau(order, rows, _fractions(b), None if error is None else _fractions(error), error_order)


def _fractions(row: Sequence[str | int]) -> Weights:
    return tuple(map(Fraction, row))


TABLEAUS: Mapping[str, Tableau] = MappingProxyType(
    {
        "euler": butcher(1, (), (1,)),
        "heun": butcher(2, ((1,),), ("1/2", "1/2")),
        "midpoint": butcher(2, (("1/2",),), (0, 1)),
        "kutta3": butcher(3, (("1/2",), (-1, 2)), ("1/6", "2/3", "1/6")),
        "ralston3": butcher(3, (("1/2",), (0, "3/4")), ("2/9", "1/3", "4/9")),
        "heun3": butcher(3, (("1/3",), (0, "2/3")), ("1/4", 0, "3/4")),
        "houwen3": butcher(3, (("8/15",), ("1/4", "5/12")), ("1/4", 0, "3/4")),
        "ssprk3": butcher(3, ((1,), ("1/4", "1/4")), ("1/6", "1/6", "2/3")),
        "rk4": butcher(4, (("1/2",), (0, "1/2"), (0, 0, 1)), ("1/6", "1/3", "1/3", "1/6")),
    }
)
"""The explicit methods by name; read-only."""
