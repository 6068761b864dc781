"""Batches of images as pixels, and pixels as pictures. Needs Pillow, which is imported where a picture is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Pixels", "grid", "to_image", "to_pixels"]

Pixels = NDArray[np.uint8]


def to_pixels(images: NDArray[np.floating]) -> Pixels:
    """[B, 1 or 3, H, W] in [-1, 1] to uint8 [B, H, W, 1 or 3]; values outside are clipped, NaN is black."""
    scaled = np.nan_to_num((images.astype(np.float32) + 1.0) * 127.5, nan=0.0)
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)


def grid(pixels: Pixels, columns: int, *, gap: int = 1, fill: int = 255) -> Pixels:
    """Tile uint8 [B, H, W, C] row by row into one image [H', W', C]; ``fill`` in the gaps and a short last row."""
    count, height, width, channels = pixels.shape
    rows = -(-count // columns)
    page = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, channels), fill, np.uint8)
    for i, image in enumerate(pixels):
        top, left = (i // columns) * (height + gap), (i % columns) * (width + gap)
        page[top : top + height, left : left + width] = image
    return page


def to_image(pixels: Pixels, zoom: int = 1) -> Image:
    """Of uint8 [H, W, 1 or 3], every pixel ``zoom`` times as large."""
    from PIL import Image

    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    return image.resize((image.width * zoom, image.height * zoom), Image.Resampling.NEAREST)
