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

__all__ = ["CLASS_NAMES", "DEFAULT_ROOT", "LabelledImages", "fashion_mnist", "read_idx"]

DEFAULT_ROOT = Path("/usr/share/datasets/fashion-mnist")
CLASS_NAMES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
_SPLITS = {"train": "train", "test": "t10k"}


@dataclass(frozen=True)
class LabelledImages:
    """images: float32 [N, 1, 28, 28] in [-1, 1]; labels: int64 [N] in 0..9."""

    images: NDArray[np.float32]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read one gzipped IDX file of unsigned bytes (two zero bytes, type 0x08, rank, big-endian sizes, data)."""
    raw = gzip.decompress(path.read_bytes())
    if len(raw) < 4 or raw[:3] != b"\x00\x00\x08":
        raise ValueError(f"path={path}: not an IDX file of unsigned bytes; pass one of the original .gz files")
    rank = raw[3]
    shape = tuple(int(n) for n in np.frombuffer(raw, ">u4", count=rank, offset=4))
    body = np.frombuffer(raw, np.uint8, offset=4 + 4 * rank)
    if body.size != math.prod(shape):
        raise ValueError(f"path={path}: header says {shape}, file holds {body.size} bytes; download it again")
    return body.reshape(shape)


def fashion_mnist(split: str = "train", root: Path | str = DEFAULT_ROOT) -> LabelledImages:
    """Load one split, 'train' (60,000 images) or 'test' (10,000)."""
    if split not in _SPLITS:
        raise ValueError(f"split={split!r}; choose one of {sorted(_SPLITS)}")
    prefix = Path(root) / _SPLITS[split]
    pixels, labels = (Path(f"{prefix}-{kind}-ubyte.gz") for kind in ("images-idx3", "labels-idx1"))
    if not pixels.exists() or not labels.exists():
        raise ValueError(
            f"root={str(root)!r} does not hold {pixels.name} and {labels.name}; install the Debian package "
            "dataset-fashion-mnist, or put the four original .gz files there"
        )
    images = read_idx(pixels)[:, None].astype(np.float32) / 127.5 - 1.0
    return LabelledImages(images, read_idx(labels).astype(np.int64))
