"""Readers of files that people hand in: each compares what a header says with what is there before it allocates.

Each raises ValueError that names the file, what is wrong with it and what to do.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["read_json", "read_npy", "read_text", "unreadable"]

_MOST_TEXT = 2**26
"""Bytes; a plan of 1000 rows takes less than one per cent of it."""


@contextmanager
def unreadable(path: Path, fix: str) -> Iterator[None]:
    """ValueError naming the file in place of whatever its reader raises inside the block, ImportError excepted."""
    try:
        yield
    except ImportError:
        raise
    except Exception as error:  # on a broken file each library raises what it likes
        reason = (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
        reason = " ".join(reason.split())
        message = reason if reason.startswith(f"{path}: ") else f"{path}: cannot be read ({reason}); {fix}"
        raise ValueError(message) from error


def read_text(path: Path, fix: str) -> str:
    """UTF-8, of at most 64 MiB."""
    with unreadable(path, fix), open(path, "rb") as file:
        data = file.read(_MOST_TEXT + 1)
        if len(data) > _MOST_TEXT:
            raise ValueError(f"more than {_MOST_TEXT} bytes")
        return data.decode("utf-8")


def read_json(path: Path, fix: str) -> dict[str, Any]:
    """The JSON object in a file; NaN and infinities are refused."""
    text = read_text(path, fix)
    with unreadable(path, fix):
        found = json.loads(text, parse_constant=_refuse_constant)
        if not isinstance(found, dict):
            raise ValueError(f"holds a JSON {type(found).__name__}, not an object")
        return found


def read_npy(path: Path, fix: str) -> NDArray[Any]:
    """The array of a .npy file; pickled objects are refused."""
    with unreadable(path, fix), open(path, "rb") as file:
        version = np.lib.format.read_magic(file)
        headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in headers:
            raise ValueError(f"version {version} of the format")
        shape, by_column, dtype = headers[version](file)
        held = path.stat().st_size - file.tell()
        needed = math.prod(shape) * dtype.itemsize
        if dtype.hasobject or needed != held:
            raise ValueError(f"its header says {dtype} {shape}, {needed} bytes, and it holds {held}")
        values = np.frombuffer(file.read(needed), dtype)
        if values.size != math.prod(shape):
            raise ValueError("it became shorter while it was read")
        return values.reshape(shape, order="F" if by_column else "C").copy()


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON number")
