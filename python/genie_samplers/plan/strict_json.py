"""Dataclasses to JSON and back, strictly: unknown or missing keys and wrong types raise ValueError with their path.

Floats are written as their shortest round-trip decimals; +inf, which JSON lacks, is null. A class with the attribute
``kind`` is written with that tag, which tells it from others in the same list. A field with the metadata "optional" is
left out where it has its default. Messages are short, however long the value.
"""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, NoReturn, TypeVar, get_args, get_origin, get_type_hints

from .._arguments import shown
from .frozen import Refused, frozen

__all__ = ["decode", "encode", "parse"]

T = TypeVar("T")

MAX_DIGITS = 40  # of an integer: more than any that a plan holds, few enough for float64


def parse(text: str) -> Any:
    """Objects, lists, numbers, strings; :class:`Refused` in place of NaN, infinity, huge integers and keys given twice.

    ValueError naming the place for what is no JSON, or is nested too deeply to read.
    """
    try:
        return json.loads(
            text, parse_constant=_refused_constant, parse_int=_integer, object_pairs_hook=_object_of_distinct_keys
        )
    except json.JSONDecodeError as error:
        raise ValueError(f"text: not JSON; {error}") from None
    except RecursionError:
        raise ValueError("text: nested too deeply; a plan has a few levels of lists and objects") from None


def _refused_constant(name: str) -> Refused:
    return Refused(f"{name} is not JSON; give a finite number")


def _integer(digits: str) -> int | Refused:
    if len(digits) > MAX_DIGITS:
        return Refused(f"an integer of {len(digits)} digits; give a smaller number")
    return int(digits)


def _object_of_distinct_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any] | Refused:
    data = dict(pairs)
    if len(data) == len(pairs):
        return data
    seen = set[str]()
    twice = next(key for key, _ in pairs if key in seen or seen.add(key))
    return Refused(f"key {shown(twice)} is given twice; give it once")


def encode(value: Any, hint: Any = object) -> Any:
    """JSON-ready form: objects, lists, numbers, strings, null. A 1 where ``hint`` says float becomes 1.0."""
    if is_dataclass(value):
        left_out = {name for name, default in _optional(type(value)).items() if getattr(value, name) == default}
        hints = {name: hint for name, hint in _hints(type(value)).items() if name not in left_out}
        written = {name: encode(getattr(value, name), inner) for name, inner in hints.items()}
        return {**_tag(type(value)), **written}
    if isinstance(value, Mapping):
        return {key: encode(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        inner = next(iter(get_args(_without_none(hint))), object)
        return [encode(item, int if hasattr(hint, "_fields") else inner) for item in value]
    return _encode_scalar(value, hint)


def _encode_scalar(value: Any, hint: Any) -> Any:
    if hint is int:
        return operator.index(value)
    if hint is float:
        value = float(value)
        if value == math.inf:
            return None
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} cannot be written as JSON; a plan holds finite numbers")
    return value


def decode(cls: type[T], data: Any, path: str = "plan") -> T:
    """Build ``cls`` from what :func:`encode` made of it. What its constructor refuses is refused with the path, too."""
    data = _checked_keys(cls, _of_type(dict, data, path, "an object"), path)
    values = {name: _decode(hint, data[name], f"{path}.{name}") for name, hint in _hints(cls).items() if name in data}
    for name, default in _optional(cls).items():
        if name in data and values[name] == default:
            raise ValueError(f"{path}.{name}: {shown(data[name])} says nothing; leave it out")
    try:
        return cls(**values)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise ValueError(f"{path}: {error}") from error


def _checked_keys(cls: type, data: dict[str, Any], path: str) -> dict[str, Any]:
    """``data`` if it has the keys and the tag of ``cls``."""
    tag = _tag(cls)
    known, needed = {*_hints(cls), *tag}, {*_hints(cls), *tag} - _optional(cls).keys()
    if not needed <= data.keys() <= known:
        unknown, missing = shown(sorted(data.keys() - known)), sorted(needed - data.keys())
        raise ValueError(f"{path}: unknown keys {unknown}, missing keys {missing}")
    for name, kind in tag.items():
        if data[name] != kind:
            raise ValueError(f"{path}.{name}: {shown(data[name])}; need {kind!r}")
    return data


def _decode(hint: Any, data: Any, path: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is UnionType:
        if data is None and NoneType in arguments:
            return None
        return _decode(
            _of_kind(arguments, data, path) if NoneType not in arguments else _without_none(hint), data, path
        )
    if origin is tuple:
        items = enumerate(_of_type(list, data, path, "a list"))
        return tuple(_decode(arguments[0], item, f"{path}[{i}]") for i, item in items)
    if origin is Mapping:
        return _frozen(_of_type(dict, data, path, "an object"), path)
    if isinstance(hint, type) and is_dataclass(hint):
        return decode(hint, data, path)
    if hasattr(hint, "_fields"):  # a NamedTuple of integers
        if not isinstance(data, list) or len(data) != len(hint._fields):
            _refuse(data, path, str(list(hint._fields)))
        return hint(*(_decode(int, item, path) for item in data))
    return _decode_scalar(hint, data, path)


def _of_kind(classes: tuple[Any, ...], data: Any, path: str) -> Any:
    """Of classes with tags the one of this object; the first where it has no tag, which is then reported missing."""
    if not isinstance(data, dict) or "kind" not in data:
        return classes[0]
    chosen = next((cls for cls in classes if cls.kind == data["kind"]), None)
    if chosen is None:
        raise ValueError(f"{path}.kind: {shown(data['kind'])}; need {' or '.join(repr(cls.kind) for cls in classes)}")
    return chosen


def _decode_scalar(hint: Any, data: Any, path: str) -> Any:
    if hint is float:
        if data is None:
            return math.inf
        if isinstance(data, int | float) and not isinstance(data, bool) and math.isfinite(data):
            return float(data)
    elif isinstance(data, hint) and not (hint is int and isinstance(data, bool)):
        return data
    _refuse(data, path, hint.__name__)


def _frozen(data: dict[str, Any], path: str) -> object:
    try:
        return frozen(data, path)
    except TypeError as error:
        raise ValueError(str(error)) from error


def _of_type(kind: type[T], data: Any, path: str, name: str) -> T:
    if not isinstance(data, kind):
        _refuse(data, path, name)
    return data


def _refuse(data: Any, path: str, need: str) -> NoReturn:
    if isinstance(data, Refused):
        raise ValueError(f"{path}: {data.reason}")
    raise ValueError(f"{path}: {shown(data)}; need {need}")


@cache
def _hints(cls: type) -> dict[str, Any]:
    """The fields that are written, and their types."""
    hints = get_type_hints(cls)
    return {entry.name: hints[entry.name] for entry in fields(cls) if entry.metadata.get("written", True)}


@cache
def _optional(cls: type) -> dict[str, Any]:
    """The fields that are left out where they have their default, and these."""
    return {entry.name: entry.default for entry in fields(cls) if entry.metadata.get("optional", False)}


def _tag(cls: type) -> dict[str, str]:
    kind = getattr(cls, "kind", None)
    return {} if kind is None else {"kind": kind}


def _without_none(hint: Any) -> Any:
    """T of ``T | None``; any other hint as it is."""
    if get_origin(hint) is not UnionType:
        return hint
    return next(a for a in get_args(hint) if a is not NoneType)
