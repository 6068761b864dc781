"""The pictures that a command works on: files and folders of the user's, Fashion-MNIST, or a small set to try."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
from numpy.typing import NDArray

from ..demo import data
from ..demo.samples import photos, samples
from ..files import fitted
from .files import read_images
from .network import Chosen

__all__ = ["Pictures", "Source", "source_options"]

_SETS = ("samples", "photos")
_EMBEDDED_SHAPE = (1, 28, 28)
_EVERY = 10  # of so many pictures one is held out, where there are twice as many
_WAYS = (
    "--images FOLDER takes your own .png or .jpg pictures; --data FOLDER the four .gz files of Fashion-MNIST (the"
    f" Debian package dataset-fashion-mnist puts them into {data.DEFAULT_ROOT}); --data samples the 120 samples of the"
    " embedded network that come with the package; --data photos a dozen photos, with scikit-image installed"
)

Shape = tuple[int, int, int]


class Pictures(NamedTuple):
    """images: float32 [N, C, H, W]; labels: int64 [N], None where they have no classes; source: in words."""

    images: NDArray[np.float32]
    labels: NDArray[np.int64] | None
    source: str


@dataclass(frozen=True)
class Source:
    """What --images and --data say. ValueError where both are given."""

    paths: tuple[Path, ...]
    data: str | None

    def __post_init__(self) -> None:
        if self.paths and self.data is not None:
            raise ValueError(f"--data {self.data}: --images {self.paths[0]} is given, too; leave one of the two out")

    def load(self, chosen: Chosen, split: str, count: int | None = None) -> Pictures:
        """Pictures of the form of the network's samples.

        split: "train", "test" for those held out, or "all" of them, of Fashion-MNIST its test images. count: as many at
        most, of a data set's first. ValueError naming the file, or all ways to get data.
        """
        _, *size = chosen.shape(1)
        shape = (size[0], size[1], size[2])
        if self.paths:
            return Pictures(_part(read_images(self.paths, shape), split), None, ", ".join(p.name for p in self.paths))
        name = self._name(chosen)
        if name == "photos":
            return Pictures(_part(photos(shape), split)[:count], None, name)
        found = samples() if name == "samples" else _fashion_mnist("train" if split == "train" else "test", name)
        images, labels = found.images, found.labels
        if name == "samples":
            images, labels = _part(images, split), _part(labels, split)
        of_garments = chosen.classes == len(data.CLASS_NAMES) and shape[0] == 1  # else its classes are other things
        source = name if name in _SETS else "Fashion-MNIST"
        return Pictures(_fitted(images[:count], shape), labels[:count] if of_garments else None, source)

    def _name(self, chosen: Chosen) -> str:
        """Of the data set, or its folder; by default Fashion-MNIST, or samples of the embedded network."""
        if self.data is not None:
            return self.data
        if chosen.shape(1)[1:] != _EMBEDDED_SHAPE:
            raise ValueError(f"--images: needed, what {chosen.name} was trained on nobody else knows; {_WAYS}")
        if data.has_fashion_mnist():
            return str(data.DEFAULT_ROOT)
        click.echo(f"data: samples of the embedded network, for no Fashion-MNIST is installed; {_WAYS}", err=True)
        return "samples"


def source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --images and --data, given to the command as one :class:`Source`."""

    def with_source(images: tuple[Path, ...], data: str | None, **others: Any) -> Any:
        return command(source=Source(images, data), **others)

    with_source.__doc__ = command.__doc__
    with_source.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
    decorated: Callable[..., Any] = with_source
    for option in (
        click.option(
            "--data", metavar="SET",
            help="A folder of the IDX files of Fashion-MNIST; or samples, 120 images of the embedded network that come"
            " with the package; or photos, of scikit-image. They are brought to the size of the network. By default"
            f" Fashion-MNIST where it is installed ({data.DEFAULT_ROOT}), else samples.",
        ),
        click.option(
            "--images", type=click.Path(exists=True, path_type=Path), multiple=True,
            help="Pictures in place of --data, repeatable: a folder of .png and .jpg files, one such file (resized and"
            " cropped around the centre), or a .npy of integers 0..255 or floats -1..1.",
        ),
    ):  # fmt: skip
        decorated = option(decorated)
    return decorated


def _fashion_mnist(split: str, root: str) -> data.LabelledImages:
    try:
        return data.fashion_mnist(split, root)
    except ValueError as error:
        if data.has_fashion_mnist(root):
            raise  # the file is there, and broken
        raise ValueError(f"--data {root}: holds no Fashion-MNIST; {_WAYS}") from error


def _part(values: NDArray[Any], split: str) -> NDArray[Any]:
    """Every tenth is held out; of fewer than twenty all are both."""
    if split == "all" or len(values) < 2 * _EVERY:
        return values
    held_out = np.arange(len(values)) % _EVERY == _EVERY - 1
    return values[held_out if split == "test" else ~held_out]


def _fitted(images: NDArray[np.float32], shape: Shape) -> NDArray[np.float32]:
    """Grey images [N, 1, H, W] of a data set in another form."""
    if images.shape[1:] == shape:
        return images
    from PIL import Image

    pixels = np.rint((images[:, 0] + 1.0) * 127.5).astype(np.uint8)
    return data.scaled(np.stack([fitted(Image.fromarray(grey), shape) for grey in pixels]))
