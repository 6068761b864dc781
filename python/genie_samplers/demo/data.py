"""Fashion-MNIST in the IDX files of its authors (28x28 grey, ten classes, MIT licence).

The files come with the Debian package ``dataset-fashion-mnist``, or from any copy of the four ``.gz`` files.
"""

from __future__ import annotations

import gzip
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..files import unreadable

__all__ = ["CLASS_NAMES", "DEFAULT_ROOT", "LabelledImages", "fashion_mnist", "has_fashion_mnist", "read_idx", "scaled"]

DEFAULT_ROOT = Path("/usr/share/datasets/fashion-mnist")
CLASS_NAMES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
_SIZE = 28
_FIX = "take one of the original .gz files"
_MOST_SIZES = 4
_MOST_BYTES = 2**30
_DEFLATE_RATIO = 1032  # the most that a byte of deflate can become (RFC 1951: 258 bytes from two bits)
_SPLITS = {"train": "train", "test": "t10k"}


@dataclass(frozen=True)
class LabelledImages:
    """images: float32 [N, C, H, W] in [-1, 1]; labels: int64 [N], the class of each."""

    images: NDArray[np.float32]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.images)


def read_idx(path: Path, inner: tuple[int, ...] | None = None) -> NDArray[np.uint8]:
    """Read one gzipped IDX file of unsigned bytes (two zero bytes, type 0x08, rank, big-endian sizes, data).

    inner: what all sizes but the first have to be; None: any, at most four. The header is compared with it, and its
    sizes with what a file of this length can hold, before the rest is decompressed.
    """
    with unreadable(path, _FIX), gzip.open(path) as file:
        head = file.read(4)
        if len(head) < 4 or head[:3] != b"\x00\x00\x08" or head[3] > _MOST_SIZES:
            raise ValueError("not an IDX file of unsigned bytes")
        shape = tuple(int(n) for n in np.frombuffer(file.read(4 * head[3]), ">u4"))
        if len(shape) < head[3] or (inner is not None and (not shape or shape[1:] != inner)):
            raise ValueError(f"its header says {shape}; need [N{''.join(f', {n}' for n in inner or ())}]")
        needed = math.prod(shape)
        if needed > min(_MOST_BYTES, _DEFLATE_RATIO * path.stat().st_size):
            raise ValueError(f"its header says {shape}, more than a file of {path.stat().st_size} bytes may hold")
        body = np.frombuffer(file.read(needed + 1), np.uint8)
        if body.size != needed:
            held = "more" if body.size > needed else body.size
            raise ValueError(f"its header says {shape}, and it holds {held} bytes")
        return body.reshape(shape)


def fashion_mnist(split: str = "train", root: Path | str = DEFAULT_ROOT) -> LabelledImages:
    """Load one split, 'train' (60,000 images) or 'test' (10,000)."""
    if split not in _SPLITS:
        raise ValueError(f"split={split!r}; choose one of {sorted(_SPLITS)}")
    pixels, labels = _files(split, root)
    if not pixels.exists() or not labels.exists():
        raise ValueError(
            f"root={str(root)!r} does not hold {pixels.name} and {labels.name}; install the Debian package "
            "dataset-fashion-mnist, or give a folder of the four original .gz files"
        )
    grey, numbers = read_idx(pixels, (_SIZE, _SIZE)), read_idx(labels, ())
    if len(grey) != len(numbers) or not len(grey) or numbers.max() >= len(CLASS_NAMES):
        raise ValueError(
            f"{labels}: {len(numbers)} labels up to {numbers.max(initial=0)} for {len(grey)} images; need one of 0..9 "
            f"for each of at least one image, {_FIX}"
        )
    return LabelledImages(scaled(grey[:, None]), numbers.astype(np.int64))


def has_fashion_mnist(root: Path | str = DEFAULT_ROOT) -> bool:
    """Whether the files of both splits lie there."""
    return all(path.exists() for split in _SPLITS for path in _files(split, root))


def scaled(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """0..255 to [-1, 1]."""
    return pixels.astype(np.float32) / 127.5 - 1.0


def _files(split: str, root: Path | str) -> tuple[Path, Path]:
    """Of the images, and of their classes."""
    prefix = Path(root) / _SPLITS[split]
    return Path(f"{prefix}-images-idx3-ubyte.gz"), Path(f"{prefix}-labels-idx1-ubyte.gz")
