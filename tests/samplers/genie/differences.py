"""Derivatives along a line by finite differences, with a bound on their own error."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["assert_first", "assert_second"]

Line = Callable[[float], Tensor]


def assert_first(line: Line, found: Tensor, step: float) -> None:
    """``found`` is d line/d tau at 0: within the change of the difference when the step doubles, and its rounding."""

    def difference(h: float) -> Tensor:
        return (8.0 * (line(h) - line(-h)) - (line(2.0 * h) - line(-2.0 * h))) / (12.0 * h)

    _assert_near(found, difference(step), difference(2.0 * step), line(0.0), 2.0 / step)


def assert_second(line: Line, found: Tensor, step: float) -> None:
    """``found`` is d^2 line/d tau^2 at 0."""

    def difference(h: float) -> Tensor:
        near, far = line(h) + line(-h), line(2.0 * h) + line(-2.0 * h)
        return (16.0 * near - far - 30.0 * line(0.0)) / (12.0 * h**2)

    _assert_near(found, difference(step), difference(2.0 * step), line(0.0), 8.0 / step**2)


def _assert_near(found: Tensor, fine: Tensor, coarse: Tensor, value: Tensor, amplification: float) -> None:
    precision = torch.finfo(value.dtype).eps
    rounding = 100.0 * precision * amplification * float(value.abs().max())  # of a hundred layers
    truncation = float((fine - coarse).abs().max())
    assert truncation < 1e-3 * float(fine.abs().max()), "the step is too coarse or too fine to tell"
    assert float((found - fine).abs().max()) <= truncation + rounding
