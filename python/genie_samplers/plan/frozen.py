"""What JSON can hold, immutable all the way down: the options and the schedule of a recipe."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from types import MappingProxyType

from .._arguments import shown

__all__ = ["FrozenMapping", "Refused", "frozen", "is_text"]

MAX_DEPTH = 8  # of mappings and lists
MAX_INTEGER = 2**63 - 1


@dataclass(frozen=True)
class Refused:
    """Stands for what a parser met and a plan may not hold, until it is reported with its path."""

    reason: str


class FrozenMapping(Mapping[str, object]):
    """A mapping of what :func:`frozen` makes: it never changes, and is hashable, picklable and copyable."""

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[str, object], path: str = "mapping", depth: int = 0) -> None:
        made = {_key(key, path): frozen(item, _of(path, key), depth + 1) for key, item in items.items()}
        self._items = MappingProxyType(made)

    def __getitem__(self, key: str) -> object:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __reduce__(self) -> tuple[object, ...]:
        return FrozenMapping, (dict(self._items),)

    def __repr__(self) -> str:
        return repr(dict(self._items))


def is_text(value: object) -> bool:
    """Whether a value is a string, not empty, that UTF-8 can hold: one without lone surrogates."""
    return isinstance(value, str) and value != "" and not any("\ud800" <= c <= "\udfff" for c in value)


def frozen(value: object, path: str, depth: int = 0) -> object:
    """An immutable copy of what JSON can hold: None, booleans, numbers, strings, lists and mappings of them.

    ValueError for infinity, NaN, integers beyond 64 bits, lone surrogates and more than 8 levels, else TypeError.
    """
    if isinstance(value, FrozenMapping) or value is None or isinstance(value, bool):
        return value
    if isinstance(value, Mapping | list | tuple):
        if depth == MAX_DEPTH:
            raise ValueError(f"{path}: more than {MAX_DEPTH} levels of mappings and lists; give flatter options")
        if isinstance(value, Mapping):
            return FrozenMapping(value, path, depth)
        if set(map(type, value)) == {float} and all(map(math.isfinite, value)):  # a table of a thousand betas
            return tuple(value)
        return tuple(frozen(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(value))
    return _leaf(value, path)


def _leaf(value: object, path: str) -> object:
    if isinstance(value, Refused):
        raise ValueError(f"{path}: {value.reason}")
    if isinstance(value, str):
        if value and not is_text(value):
            raise ValueError(f"{path}={shown(value)}: a lone surrogate, which no text file holds")
        return value
    if isinstance(value, Integral):
        if abs(int(value)) > MAX_INTEGER:
            raise ValueError(f"{path}: an integer beyond 64 bits; give a smaller one")
        return int(value)
    if isinstance(value, Real):
        if not math.isfinite(value):
            raise ValueError(f"{path}={value}: JSON holds no infinity and no NaN; give a finite number")
        return float(value)
    raise TypeError(f"{path}={shown(value)}: give what JSON can hold")


def _key(key: object, path: str) -> str:
    if not is_text(key):
        raise TypeError(f"{path}: key {shown(key)}; give strings as keys")
    return str(key)


def _of(path: str, key: object) -> str:
    name = str(key)
    return f"{path}.{name if len(name) <= 40 else name[:37] + '...'}"
