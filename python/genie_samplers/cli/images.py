"""Batches of images as labelled PNG pages. Needs Pillow, which is imported where a page is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .. import files

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["check_target", "grid", "labelled_table", "save_png", "to_pixels"]

Pixels = NDArray[np.uint8]
_MARGIN = 6
_FONT_SIZE = 13


def to_pixels(images: NDArray[np.floating]) -> Pixels:
    """[B, 1 or 3, H, W] in [-1, 1] to uint8 [B, H, W, 1 or 3]; values outside are clipped, NaN is black."""
    scaled = np.nan_to_num((images.astype(np.float32) + 1.0) * 127.5, nan=0.0)
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)


def grid(pixels: Pixels, columns: int, *, gap: int = 1) -> Pixels:
    """Tile uint8 [B, H, W, C] row by row into one image [H', W', C], white where the last row is short."""
    count, height, width, channels = pixels.shape
    rows = -(-count // columns)
    page = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, channels), 255, np.uint8)
    for i, image in enumerate(pixels):
        top, left = (i // columns) * (height + gap), (i % columns) * (width + gap)
        page[top : top + height, left : left + width] = image
    return page


def labelled_table(
    cells: Sequence[Sequence[Pixels | None]], row_labels: Sequence[str], column_labels: Sequence[str], *, zoom: int = 2
) -> Image:
    """A page of image cells of one size, names at the left and on top; None leaves a cell empty."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(_FONT_SIZE)
    first = next(cell for row in cells for cell in row if cell is not None)
    width, height = first.shape[1] * zoom + _MARGIN, first.shape[0] * zoom + _MARGIN
    left = _MARGIN * 2 + int(max(font.getlength(label) for label in row_labels))
    top = _FONT_SIZE + _MARGIN * 2
    page = Image.new("RGB", (left + width * len(column_labels), top + height * len(row_labels)), "white")
    draw = ImageDraw.Draw(page)
    for column, label in enumerate(column_labels):
        draw.text((left + column * width, _MARGIN), label, "black", font)
    for row, label in enumerate(row_labels):
        draw.text((_MARGIN, top + row * height), label, "black", font)
        for column, cell in enumerate(cells[row]):
            if cell is not None:
                page.paste(_to_image(cell, zoom), (left + column * width, top + row * height))
    return page


def check_target(path: Path) -> None:
    """ValueError where a PNG could not be written there, ImportError without Pillow."""
    files.require("a picture", "PIL", extra="cli")
    files.check_target(path, suffix=".png")


def save_png(image: Pixels | Image, path: Path, metadata: Mapping[str, object], *, zoom: int = 1) -> None:
    """Write a PNG with ``metadata`` in its text chunks."""
    from PIL import PngImagePlugin

    info = PngImagePlugin.PngInfo()
    for key, value in metadata.items():
        info.add_text(key, str(value))
    page = _to_image(image, zoom) if isinstance(image, np.ndarray) else image
    with files.replacing(path) as partial:
        page.save(partial, pnginfo=info)


def _to_image(pixels: Pixels, zoom: int) -> Image:
    from PIL import Image

    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    return image.resize((image.width * zoom, image.height * zoom), Image.Resampling.NEAREST)
