"""Pictures that people hand in, brought to the size and the channels of a network. Needs Pillow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .extras import require
from .pixels import Pixels
from .reading import unreadable

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["PICTURE_SUFFIXES", "fitted", "opened_picture", "pictures_in", "read_picture"]

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK")
_MOST_PIXELS = 2**27
_COLOURS = {1: "L", 3: "RGB"}


@contextmanager
def opened_picture(path: Path, fix: str) -> Iterator[Image]:
    """A PNG or JPEG of 8 bits, upright as its camera was held; its sizes are compared before it is decoded."""
    require(f"{path}: a picture", "PIL", extra="cli")
    from PIL import Image, ImageOps

    with unreadable(path, fix), Image.open(path, formats=["PNG", "JPEG"]) as image:
        if image.mode not in _MODES or image.width * image.height > _MOST_PIXELS:
            raise ValueError(
                f"{image.mode}, {image.width} x {image.height} pixels; need 8 bits, {_MOST_PIXELS} at most"
            )
        yield ImageOps.exif_transpose(image)


def read_picture(path: Path, shape: tuple[int, int, int], fix: str) -> Pixels:
    """uint8 [C, H, W] = ``shape``, C 1 (grey) or 3, of a PNG or JPEG: resized and cropped around its centre.

    The bits of a picture that has the size already. ValueError naming the file where it is none of 8 bits.
    """
    with opened_picture(path, fix) as image:
        return fitted(image, shape)


def fitted(image: Image, shape: tuple[int, int, int]) -> Pixels:
    """uint8 [C, H, W] = ``shape``: the largest part of the picture of that form around its centre, resized."""
    from PIL import Image, ImageOps

    channels, height, width = shape
    if channels not in _COLOURS:
        raise ValueError(f"shape={shape}: {channels} channels; a picture has 1 or 3")
    plain = image.convert(_COLOURS[channels])
    pixels = np.asarray(ImageOps.fit(plain, (width, height), Image.Resampling.LANCZOS))
    return pixels.reshape(height, width, channels).transpose(2, 0, 1)


def pictures_in(folder: Path) -> list[Path]:
    """The PNG and JPEG files of a folder, by name; ValueError where it has none."""
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES and path.is_file())
    if not found:
        raise ValueError(f"{folder}: holds no picture; give a folder of {', '.join(PICTURE_SUFFIXES)} files")
    return found
