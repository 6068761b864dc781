"""Batches of images as labelled PNG pages. Needs Pillow, which is imported where a page is made."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from .. import files
from ..files.pixels import Pixels, grid, to_image, to_pixels

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "Pixels",
    "captioned",
    "check_target",
    "grid",
    "header_height",
    "labelled_table",
    "save_png",
    "to_pixels",
    "zoom_of",
]

_MARGIN = 6
_FONT_SIZE, _NAME_SIZE = 13, 10
_LINE = _FONT_SIZE + 2 * _MARGIN
_SMALL = 64


def captioned(pixels: Pixels, columns: int, line: str, names: Sequence[str] = ()) -> Image:
    """A page of uint8 [B, H, W, C] tiled in ``columns``, their names above them, a line of text below.

    The tiles begin at the left edge, :func:`header_height` below the upper one; small ones are shown twice as large.
    """
    from PIL import Image, ImageDraw, ImageFont

    font, small = ImageFont.load_default(_FONT_SIZE), ImageFont.load_default(_NAME_SIZE)
    zoom = zoom_of(pixels.shape[1])
    tiles = to_image(grid(pixels, columns), zoom)
    top, step = header_height(names), (pixels.shape[2] + 1) * zoom
    width = max(tiles.width, math.ceil(font.getlength(line)) + 2 * _MARGIN)
    page = Image.new(tiles.mode, (width, top + tiles.height + _LINE), "white")
    page.paste(tiles, (0, top))
    draw = ImageDraw.Draw(page)
    for column, name in enumerate(names):
        draw.text((column * step + step // 2, top // 2), name, "black", small, anchor="mm")
    draw.text((_MARGIN, top + tiles.height + _MARGIN), line, "black", font)
    return page


def header_height(names: Sequence[str]) -> int:
    """Of the row of names of a :func:`captioned` page."""
    return _LINE if names else 0


def zoom_of(height: int) -> int:
    """How much larger than their pixels images of this height are shown."""
    return 2 if height <= _SMALL else 1


def labelled_table(
    cells: Sequence[Sequence[Pixels | None]], row_labels: Sequence[str], column_labels: Sequence[str], *, zoom: int = 2,
    captions: Mapping[tuple[int, int], str] = MappingProxyType({}),
) -> Image:  # fmt: skip
    """A page of image cells of one size, names at the left and on top; None leaves a cell empty.

    captions: texts below the cells by (row, column); a row that has any is higher by a line.
    """
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(_FONT_SIZE)
    first = next(cell for row in cells for cell in row if cell is not None)
    width, height = first.shape[1] * zoom + _MARGIN, first.shape[0] * zoom + _MARGIN
    left = _MARGIN * 2 + int(max(font.getlength(label) for label in row_labels))
    with_captions = {row for row, _ in captions}
    tops = [_LINE]
    for row in range(len(row_labels)):
        tops.append(tops[-1] + height + (_FONT_SIZE + _MARGIN) * (row in with_captions))
    page = Image.new("RGB", (left + width * len(column_labels), tops[-1]), "white")
    draw = ImageDraw.Draw(page)
    for column, label in enumerate(column_labels):
        draw.text((left + column * width, _MARGIN), label, "black", font)
    for row, label in enumerate(row_labels):
        draw.text((_MARGIN, tops[row]), label, "black", font)
        for column, cell in enumerate(cells[row]):
            if cell is not None:
                page.paste(to_image(cell, zoom), (left + column * width, tops[row]))
    for (row, column), text in captions.items():
        draw.text((left + column * width, tops[row] + height - _MARGIN + 2), text, "black", font)
    return page


def check_target(path: Path) -> None:
    """ValueError where a PNG could not be written there, ImportError without Pillow."""
    files.require("a picture", "PIL", extra="cli")
    files.check_target(path, suffix=".png", name="--out")


def save_png(image: Pixels | Image, path: Path, metadata: Mapping[str, object]) -> None:
    """Write a PNG with ``metadata`` in its text chunks."""
    from PIL import PngImagePlugin

    info = PngImagePlugin.PngInfo()
    for key, value in metadata.items():
        info.add_text(key, str(value))
    page = to_image(image) if isinstance(image, np.ndarray) else image
    with files.replacing(path) as partial:
        page.save(partial, pnginfo=info)
