"""Dataclasses to JSON and back, strictly: unknown or missing keys and wrong types raise ValueError with their path.

Floats are written as their shortest round-trip decimals; +inf, which JSON lacks, is null.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

__all__ = ["decode", "encode"]

T = TypeVar("T")


def encode(value: Any) -> Any:
    """JSON-ready form of a dataclass: objects, lists, numbers, strings, null."""
    if is_dataclass(value):
        return {f.name: encode(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {key: encode(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [encode(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        if value == math.inf:
            return None
        raise ValueError(f"{value} cannot be written as JSON")
    return value


def decode(cls: type[T], data: Any, path: str = "plan") -> T:
    """Build ``cls`` from what :func:`encode` made of it."""
    if not isinstance(data, dict):
        raise ValueError(f"{path}: {data!r}; need an object")
    hints = get_type_hints(cls)
    if set(data) != set(hints):
        unknown, missing = sorted(set(data) - set(hints)), sorted(set(hints) - set(data))
        raise ValueError(f"{path}: unknown keys {unknown}, missing keys {missing}")
    return cls(**{name: _decode(hint, data[name], f"{path}.{name}") for name, hint in hints.items()})


def _decode(hint: Any, data: Any, path: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is UnionType:
        if data is None and NoneType in arguments:
            return None
        return _decode(next(a for a in arguments if a is not NoneType), data, path)
    if origin is tuple:
        if not isinstance(data, list):
            raise ValueError(f"{path}: {data!r}; need a list")
        return tuple(_decode(arguments[0], item, f"{path}[{i}]") for i, item in enumerate(data))
    if origin is Mapping:
        if not isinstance(data, dict):
            raise ValueError(f"{path}: {data!r}; need an object")
        return data
    if is_dataclass(hint):
        return decode(hint, data, path)
    if hasattr(hint, "_fields"):  # a NamedTuple of integers
        if not isinstance(data, list) or len(data) != len(hint._fields):
            raise ValueError(f"{path}: {data!r}; need {list(hint._fields)}")
        return hint(*(_decode(int, item, path) for item in data))
    return _decode_scalar(hint, data, path)


def _decode_scalar(hint: Any, data: Any, path: str) -> Any:
    if hint is float:
        if data is None:
            return math.inf
        if isinstance(data, int | float) and not isinstance(data, bool) and math.isfinite(data):
            return float(data)
    elif isinstance(data, hint) and not (hint is int and isinstance(data, bool)):
        return data
    raise ValueError(f"{path}: {data!r}; need {hint.__name__}")
