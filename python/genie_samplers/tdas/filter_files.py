"""Filters in files: a .json that says what they are, and the numbers in a .safetensors of the same name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._arguments import shown
from ..files import open_tensors, read_json, unreadable, write_tensors, write_text

__all__ = ["FIX", "Contents", "read_filter", "write_filter"]

Array = NDArray[np.float64]
Contents = tuple[str, dict[str, Array], dict[str, Any]]
"""transform, arrays by name, about."""

FIX = "write one with `genie-samplers calibrate tdas`, or save() of a filter or of gains"
_VERSION = 1
_KEYS = {"format", "version", "transform", "tensors", "about"}


def write_filter(path: Path | str, kind: str, transform: str, arrays: Mapping[str, Array], about: Any) -> None:
    """``kind``: what the file calls itself. ValueError for a name that does not end in .json, and for what is no JSON.

    Nothing is written then: neither file is to belong to another filter.
    """
    import torch

    path = _json_path(path)
    numbers = path.with_suffix(".safetensors")
    said = {"format": kind, "version": _VERSION, "transform": transform, "tensors": numbers.name, "about": dict(about)}
    try:
        text = json.dumps(said, indent=1, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise ValueError(f"about: {error}; give a mapping that JSON can hold") from error
    write_tensors(numbers, {name: torch.from_numpy(array.copy()) for name, array in arrays.items()})
    write_text(path, text)


def read_filter(path: Path | str, kind: str, needed: str, *optional: str) -> Contents:
    """What :func:`write_filter` wrote; ValueError naming the file, what is wrong with it and the fix."""
    path = _json_path(path)
    found = read_json(path, FIX)
    with unreadable(path, FIX):
        if found.get("format") != kind or found.get("version") != _VERSION:
            raise ValueError(f"format {shown(found.get('format'))}, version {shown(found.get('version'))}, not {kind}")
        if set(found) != _KEYS:
            raise ValueError(f"keys {sorted(found)}, not {sorted(_KEYS)}")
        if not isinstance(found["tensors"], str) or not isinstance(found["about"], dict):
            raise ValueError(f"tensors {shown(found['tensors'])}, about {shown(found['about'])}, not a name, an object")
        if Path(found["tensors"]).name != found["tensors"]:
            raise ValueError(f"tensors {shown(found['tensors'])} lie in another folder")
    numbers = path.with_name(found["tensors"])
    with open_tensors(numbers, FIX) as file:
        if not {needed} <= set(file.shapes) <= {needed, *optional}:
            raise ValueError(f"{numbers}: holds {sorted(file.shapes)}, not {', '.join((needed, *optional))}; {FIX}")
        tensors = file.read()
    with unreadable(numbers, FIX):
        return found["transform"], {name: t.double().numpy() for name, t in tensors.items()}, found["about"]


def _json_path(path: Path | str) -> Path:
    path = Path(path)
    if path.suffix.lower() != ".json":
        raise ValueError(f"path={str(path)!r}; need a name that ends in .json, the numbers lie beside it")
    return path
