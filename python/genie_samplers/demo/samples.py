"""Small sets of pictures to try a command on: samples that come with the package, and photos of scikit-image."""

from __future__ import annotations

from importlib.resources import as_file, files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..files import fitted, opened_picture, read_npy
from .data import CLASS_NAMES, LabelledImages, scaled

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["photos", "samples"]

_PHOTOS = (
    "astronaut.png", "camera.png", "cell.png", "chelsea.png", "coffee.png", "coins.png", "hubble_deep_field.jpg",
    "ihc.png", "moon.png", "motorcycle_left.png", "retina.jpg", "rocket.jpg",
)  # fmt: skip
_PARTS = (0.0, 0.5, 1.0)  # where along the diagonal the parts of half the size lie


def samples() -> LabelledImages:
    """120 images of the embedded network, of its ten classes in turn: no photographs, but of every garment some."""
    with as_file(files("genie_samplers.demo") / "assets" / "samples.npy") as path:
        pixels = read_npy(path, "install the package again")
    labels = np.arange(len(pixels), dtype=np.int64) % len(CLASS_NAMES)
    return LabelledImages(scaled(pixels[:, None]), labels)


def photos(shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """[48, C, H, W] in [-1, 1] with ``shape`` = (C, H, W), of the dozen photos that scikit-image brings along.

    Of each the whole and three parts. ImportError without scikit-image and Pillow.
    """
    found = find_spec("skimage")
    if found is None or not found.submodule_search_locations:
        raise ImportError("the data set photos needs scikit-image: pip install scikit-image")
    folder = Path(found.submodule_search_locations[0]) / "data"
    pixels = []
    for name in _PHOTOS:
        with opened_picture(folder / name, "install scikit-image again") as image:
            pixels += [fitted(part, shape) for part in _parts(image)]
    return scaled(np.stack(pixels))


def _parts(image: Image) -> list[Image]:
    width, height = image.width // 2, image.height // 2
    corners = [(int(place * width), int(place * height)) for place in _PARTS]
    return [image, *(image.crop((left, top, left + width, top + height)) for left, top in corners)]
