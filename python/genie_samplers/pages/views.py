"""What a page shows of samples: images as pictures, points of the plane as points, of anything else nothing.

A page holds at most ``MOST_IMAGES`` samples of a cell, none larger than ``MOST_SIDE``, and ``MOST_BYTES`` of pixels
before they are packed; of points ``MOST_POINTS`` of a cell.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..files.pixels import grid, to_image, to_pixels
from ..uses.compare import Cell, Comparison
from .differences import FULL, amplification
from .text import measured

__all__ = ["MOST_BYTES", "MOST_IMAGES", "MOST_POINTS", "MOST_SIDE", "Picture", "Points", "Views", "views_of"]

MOST_IMAGES = 8
MOST_SIDE = 256
MOST_BYTES = 24 * 2**20
MOST_POINTS = 500
_WIDTH = 240  # of a picture on the page, about, where its pixels allow it
_FILL = 128
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Picture:
    """A PNG inside the page, shown ``width`` wide."""

    uri: str
    width: int
    height: int
    enlarged: bool
    alt: str


@dataclass(frozen=True)
class Points:
    """Paths of an SVG of ``width`` x ``width``: the fine points, from each to the solver's, and these."""

    width: int
    fine: str
    between: str
    points: str
    alt: str


class Views(Protocol):
    """``told``: in words what of the samples is shown."""

    told: str

    def factor(self, cells: Sequence[Cell]) -> int:
        """By how much the differences of these cells are shown larger."""
        ...

    def fine(self, fine: Tensor) -> Picture | Points: ...

    def samples(self, cell: Cell) -> Picture | Points: ...

    def difference(self, cell: Cell, factor: int) -> Picture | None:
        """None where the samples' own view shows it."""
        ...


def views_of(comparison: Comparison) -> tuple[Views | None, str]:
    """How these samples are shown, and in words what of them, or why none."""
    shape = tuple(comparison.fine.shape)
    views: Views
    if len(shape) == 4 and shape[1] in (1, 3) and 0 not in shape:
        views = _Images(shape, pictures=1 + 2 * len(comparison.cells))
    elif len(shape) == 2 and shape[1] == 2 and shape[0] > 0:
        views = _Plane(comparison)
    else:
        of = " x ".join(map(str, shape[1:])) or "no numbers"
        return None, f"Samples of {of} are not drawn: images of 1 or 3 channels and points of the plane are."
    return views, views.told


class _Images:
    def __init__(self, shape: tuple[int, ...], *, pictures: int) -> None:
        count, _, height, width = shape
        self.shrink = min(1.0, MOST_SIDE / max(height, width))
        while pictures * self._bytes(shape) > MOST_BYTES and self.shrink * max(height, width) > 1.0:
            self.shrink /= 2.0
        self.size = self._size(shape)
        fits = max(1, MOST_BYTES // (pictures * self._bytes(shape)))
        self.count = min(count, MOST_IMAGES if max(self.size) <= MOST_SIDE // 2 else MOST_IMAGES // 2, fits)
        self.columns = min(self.count, 4 if self.size[1] <= MOST_SIDE // 3 and self.count > 4 else 2)
        smaller = (
            f", made smaller from {width} x {height} to {self.size[1]} x {self.size[0]}" if self.shrink < 1 else ""
        )
        self.told = f"{self.count} of {count} samples are shown{smaller}."

    def _size(self, shape: tuple[int, ...]) -> tuple[int, int]:
        return max(1, int(shape[2] * self.shrink)), max(1, int(shape[3] * self.shrink))

    def _bytes(self, shape: tuple[int, ...]) -> int:
        """Of one sample as it is shown."""
        height, width = self._size(shape)
        return shape[1] * height * width

    def factor(self, cells: Sequence[Cell]) -> int:
        return amplification([self._apart(cell).numpy() for cell in cells])

    def fine(self, fine: Tensor) -> Picture:
        return self._picture(self._shown(fine), f"{self.count} samples of the fine solution")

    def samples(self, cell: Cell) -> Picture:
        alt = f"{self.count} samples of {cell.solver} at {cell.nfe} evaluations, RMSE {measured(cell.rmse)}"
        return self._picture(self._shown(cell.samples), alt)

    def difference(self, cell: Cell, factor: int) -> Picture:
        """Black where they agree, white where ``factor`` times the difference is that of black and white."""
        alt = f"difference of {cell.solver} at {cell.nfe} evaluations to the fine solution, times {factor}"
        return self._picture(factor * self._apart(cell) - 1.0, alt)

    def _apart(self, cell: Cell) -> Tensor:
        """|samples - fine| of what is shown, [b, C, h, w]; the largest of images where it is not finite."""
        return (self._shown(cell.samples) - self._shown(cell.fine)).abs().nan_to_num(FULL, posinf=FULL)

    def _shown(self, states: Tensor) -> Tensor:
        """The first of [B, C, H, W], float32, at the size of the page, each pixel the mean of those that it covers."""
        first = states[: self.count].detach().to("cpu", torch.float32)
        return first if self.shrink == 1.0 else torch.nn.functional.interpolate(first, self.size, mode="area")

    def _picture(self, images: Tensor, alt: str) -> Picture:
        tiles = grid(to_pixels(images.numpy()), self.columns, fill=_FILL)
        packed = io.BytesIO()
        to_image(tiles).save(packed, "PNG")
        uri = "data:image/png;base64," + base64.b64encode(packed.getvalue()).decode("ascii")
        zoom = max(1, round(_WIDTH / tiles.shape[1]))
        return Picture(uri, zoom * tiles.shape[1], zoom * tiles.shape[0], zoom > 1, alt)


class _Plane:
    """Points of the plane, all cells to one scale: that of the fine solution, with a margin."""

    def __init__(self, comparison: Comparison) -> None:
        fine = self._shown(comparison.fine)
        finite = fine[np.isfinite(fine).all(axis=1)]
        low, high = (finite.min(axis=0), finite.max(axis=0)) if len(finite) else (np.zeros(2), np.ones(2))
        self.centre = (low + high) / 2.0
        self.half = 0.6 * max(float((high - low).max()), 1e-6)
        self.told = f"{len(fine)} of {len(comparison.fine)} samples are shown; what lies outside is at the edge."

    def factor(self, cells: Sequence[Cell]) -> int:
        return 1

    def fine(self, fine: Tensor) -> Points:
        return Points(_WIDTH, self._dots(self._placed(fine)), "", "", f"{len(fine)} points of the fine solution")

    def samples(self, cell: Cell) -> Points:
        fine, points = self._placed(cell.fine), self._placed(cell.samples)
        between = "".join(f"M{a} {b}L{c} {d}" for (a, b), (c, d) in zip(fine, points, strict=True))
        of = f"{len(points)} points of {cell.solver} at {cell.nfe} evaluations, RMSE {measured(cell.rmse)}"
        alt = f"{of}, each joined to that of the fine solution"
        return Points(_WIDTH, self._dots(fine), between, self._dots(points), alt)

    def difference(self, cell: Cell, factor: int) -> None:
        return None

    def _shown(self, states: Tensor) -> Array:
        return states[:MOST_POINTS].detach().cpu().double().numpy()

    def _placed(self, states: Tensor) -> list[tuple[float, float]]:
        """Within the picture, the second axis upwards; NaN in its centre, as zero."""
        scaled = np.nan_to_num((self._shown(states) - self.centre) / self.half, posinf=1.0, neginf=-1.0)
        places = (1.0 + np.clip(scaled, -0.98, 0.98) * (1.0, -1.0)) * _WIDTH / 2.0
        return [(round(x, 1), round(y, 1)) for x, y in places.tolist()]

    def _dots(self, places: Sequence[tuple[float, float]]) -> str:
        """Lines without length, which round ends make dots."""
        return "".join(f"M{x} {y}h0" for x, y in places)
