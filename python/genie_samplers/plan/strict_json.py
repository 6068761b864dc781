"""Dataclasses to JSON and back, strictly: unknown or missing keys and wrong types raise ValueError with their path.

Floats are written as their shortest round-trip decimals; +inf, which JSON lacks, is null.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

__all__ = ["decode", "encode"]

T = TypeVar("T")
_hints = cache(get_type_hints)


def encode(value: Any, hint: Any = object) -> Any:
    """JSON-ready form: objects, lists, numbers, strings, null. A 1 where ``hint`` says float becomes 1.0."""
    if is_dataclass(value):
        return {name: encode(getattr(value, name), inner) for name, inner in _hints(type(value)).items()}
    if isinstance(value, Mapping):
        return {key: encode(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        inner = next(iter(get_args(_without_none(hint))), object)
        return [encode(item, inner) for item in value]
    if hint is float:
        value = float(value)
        if value == math.inf:
            return None
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} cannot be written as JSON; a plan holds finite numbers")
    return value


def decode(cls: type[T], data: Any, path: str = "plan") -> T:
    """Build ``cls`` from what :func:`encode` made of it."""
    if not isinstance(data, dict):
        raise ValueError(f"{path}: {data!r}; need an object")
    hints = _hints(cls)
    if set(data) != set(hints):
        unknown, missing = sorted(set(data) - set(hints)), sorted(set(hints) - set(data))
        raise ValueError(f"{path}: unknown keys {unknown}, missing keys {missing}")
    return cls(**{name: _decode(hint, data[name], f"{path}.{name}") for name, hint in hints.items()})


def _decode(hint: Any, data: Any, path: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is UnionType:
        if data is None and NoneType in arguments:
            return None
        return _decode(_without_none(hint), data, path)
    if origin is tuple:
        if not isinstance(data, list):
            raise ValueError(f"{path}: {data!r}; need a list")
        return tuple(_decode(arguments[0], item, f"{path}[{i}]") for i, item in enumerate(data))
    if origin is Mapping:
        if not isinstance(data, dict):
            raise ValueError(f"{path}: {data!r}; need an object")
        encode(data)  # refuses inf and NaN
        return data
    if isinstance(hint, type) and is_dataclass(hint):
        return decode(hint, data, path)
    if hasattr(hint, "_fields"):  # a NamedTuple of integers
        if not isinstance(data, list) or len(data) != len(hint._fields):
            raise ValueError(f"{path}: {data!r}; need {list(hint._fields)}")
        return hint(*(_decode(int, item, path) for item in data))
    return _decode_scalar(hint, data, path)


def _without_none(hint: Any) -> Any:
    """T of ``T | None``; any other hint as it is."""
    if get_origin(hint) is not UnionType:
        return hint
    return next(a for a in get_args(hint) if a is not NoneType)


def _decode_scalar(hint: Any, data: Any, path: str) -> Any:
    if hint is float:
        if data is None:
            return math.inf
        if isinstance(data, int | float) and not isinstance(data, bool) and math.isfinite(data):
            return float(data)
    elif isinstance(data, hint) and not (hint is int and isinstance(data, bool)):
        return data
    raise ValueError(f"{path}: {data!r}; need {hint.__name__}")
