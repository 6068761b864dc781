"""Errors as lines over a logarithmic axis: where everything of an SVG lies, for the template that draws it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .text import measured, plain

__all__ = ["Chart", "Line", "Mark", "Tick", "error_chart", "log_ticks", "round_ticks"]

WIDTH, HEIGHT = 760.0, 320.0
LEFT, RIGHT, TOP, BOTTOM = 64.0, 150.0, 12.0, 48.0
_NAME_HEIGHT = 16.0
_TICK_WIDTH = 26.0
_MANY_DECADES = 3.0
_STEPS = (1.0, 2.0, 5.0)


@dataclass(frozen=True)
class Tick:
    """A number at an axis, at ``at`` along it."""

    at: float
    text: str


@dataclass(frozen=True)
class Mark:
    """A point of a line, and what it says in words."""

    x: float
    y: float
    said: str


@dataclass(frozen=True)
class Line:
    """name_y: the height of its name, right of the chart; ``style`` counts the lines."""

    name: str
    style: int
    marks: tuple[Mark, ...]
    name_y: float

    @property
    def path(self) -> str:
        return "M" + "L".join(f"{mark.x:.1f} {mark.y:.1f}" for mark in self.marks)


@dataclass(frozen=True)
class Chart:
    """In units of the view box ``width`` x ``height``; the axes enclose (left, top) to (right, bottom).

    x_range: what the horizontal axis spans.
    """

    alt: str
    x_label: str
    y_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]
    x_range: tuple[float, float]
    width: float = WIDTH
    height: float = HEIGHT
    left: float = LEFT
    right: float = WIDTH - RIGHT
    top: float = TOP
    bottom: float = HEIGHT - BOTTOM

    def across(self, x: float) -> float:
        return _across(x, self.x_range)


def error_chart(
    lines: Mapping[str, Sequence[tuple[float, float]]], x_ticks: Sequence[float], *, x_label: str, unit: str, alt: str
) -> Chart | None:
    """RMSE, logarithmic, over x, for every name its (x, RMSE).

    x_ticks: the numbers at the horizontal axis, rising; they span it. unit: what x counts, in the words of the points.
    Points whose error is 0 or not finite have no place and are left out; None where none is left.
    """
    kept = {name: [(x, y) for x, y in line if math.isfinite(y) and y > 0] for name, line in lines.items()}
    errors = [y for line in kept.values() for _, y in line]
    if not errors:
        return None
    ladder = log_ticks(min(errors), max(errors))
    low, high = math.log(ladder[0]), math.log(ladder[-1])
    x_range = (x_ticks[0], x_ticks[-1])

    def up(y: float) -> float:
        return HEIGHT - BOTTOM - (math.log(y) - low) / (high - low) * (HEIGHT - BOTTOM - TOP)

    drawn = {name: [Mark(_across(x, x_range), up(y), f"{name}, {x:g} {unit}: RMSE {measured(y)}") for x, y in line]
             for name, line in kept.items() if line}  # fmt: skip
    heights = _apart([marks[-1].y for marks in drawn.values()])
    styles = {name: number for number, name in enumerate(lines)}
    return Chart(
        alt, x_label, "RMSE",
        _thinned([Tick(_across(x, x_range), f"{x:g}") for x in x_ticks]),
        tuple(Tick(up(y), plain(y)) for y in ladder),
        tuple(Line(name, styles[name], tuple(marks), height)
              for (name, marks), height in zip(drawn.items(), heights, strict=True)),
        x_range,
    )  # fmt: skip


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten, over few decades 2 and 5 times them too, that enclose [low, high]; two at least."""
    digits = _STEPS if math.log10(high / low) <= _MANY_DECADES else _STEPS[:1]
    exponents = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    ladder = [float(f"{digit:g}e{exponent}") for exponent in exponents for digit in digits]
    begin = max(i for i, value in enumerate(ladder) if value <= low)
    end = min(i for i, value in enumerate(ladder) if value >= high)
    return ladder[begin - (begin == end) : end + 1 + (begin == end)]


def round_ticks(high: float, count: int = 6) -> list[float]:
    """From 0 to ``high`` or just above it, in at most ``count`` steps of 1, 2, 5, 10, 20, ..."""
    power = 10.0 ** math.floor(math.log10(max(high / count, 1.0)))
    step = next(digit * power for digit in (*_STEPS, 10.0) if digit * power * count >= high)
    return [i * step for i in range(max(1, math.ceil(high / step)) + 1)]


def _across(x: float, x_range: tuple[float, float]) -> float:
    """A single number is in the middle."""
    first, last = x_range
    share = (x - first) / (last - first) if last > first else 0.5
    return LEFT + share * (WIDTH - RIGHT - LEFT)


def _thinned(ticks: Sequence[Tick]) -> tuple[Tick, ...]:
    """Those that have room for their number, the first among them."""
    kept: list[Tick] = []
    for tick in ticks:
        if not kept or tick.at - kept[-1].at >= _TICK_WIDTH:
            kept.append(tick)
    return tuple(kept)


def _apart(heights: Sequence[float]) -> list[float]:
    """As near to these heights as names may stand without covering each other."""
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    placed = list(heights)
    for above, below in itertools.pairwise(order):
        placed[below] = max(placed[below], placed[above] + _NAME_HEIGHT)
    floor = HEIGHT - BOTTOM + _NAME_HEIGHT / 2
    for i in reversed(order):
        placed[i] = min(placed[i], floor)
        floor = placed[i] - _NAME_HEIGHT
    return placed
