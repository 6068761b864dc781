"""Arrays in files, each written once and whole: a run that was killed goes on where it stopped."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["DEFAULT_CACHE", "cached", "digest"]

DEFAULT_CACHE = Path(__file__).parent / ".cache"


def cached(path: Path, make: Callable[[], NDArray[np.generic]]) -> NDArray[np.generic]:
    """The array in ``path``, made and written there first if it is missing."""
    if path.exists():
        return np.load(path)
    array = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with open(partial, "wb") as file:
        np.save(file, array)
    os.replace(partial, path)
    return array


def digest(*parts: bytes) -> str:
    """16 hexadecimal digits that change with any part."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(len(part).to_bytes(8, "little") + part)
    return whole.hexdigest()[:16]
