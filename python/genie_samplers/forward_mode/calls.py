"""Calls of torch's functions, and where in their arguments the tensors stand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

__all__ = ["Call", "tensors"]

Path = tuple[Any, ...]
"""A position or name, then places in nested lists and dicts."""


@dataclass(frozen=True)
class Call:
    """A function called with holes where its arguments move: call(*moving) fills them."""

    func: Callable[..., Any]
    args: tuple[Any, ...]
    named: Mapping[str, Any]
    moving: tuple[Path, ...]

    @classmethod
    def of(cls, func: Callable[..., Any], args: Sequence[Any], named: Mapping[str, Any], moving: tuple) -> Call:
        return cls(func, *_filled(args, named, moving, (None,) * len(moving)), moving)

    @property
    def first_moves(self) -> bool:
        """The first argument, and nothing else."""
        return self.moving == ((0,),)

    @property
    def positions(self) -> tuple[int, ...] | None:
        """Of what moves, where these are positional arguments."""
        plain = all(len(path) == 1 and isinstance(path[0], int) for path in self.moving)
        return tuple(path[0] for path in self.moving) if plain else None

    def __call__(self, *moving: Tensor) -> Any:
        args, named = _filled(self.args, self.named, self.moving, moving)
        return self.func(*args, **named)


def _filled(
    args: Sequence[Any], named: Mapping[str, Any], paths: tuple[Path, ...], values: tuple[Any, ...]
) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    for path, value in zip(paths, values, strict=True):
        if isinstance(path[0], str):
            named = _replaced(named, path, value)
        else:
            args = _replaced(args, path, value)
    return tuple(args), named


def _replaced(home: Any, path: Path, value: Any) -> Any:
    copy: Any = dict(home) if isinstance(home, Mapping) else list(home)
    copy[path[0]] = value if len(path) == 1 else _replaced(copy[path[0]], path[1:], value)
    return tuple(copy) if isinstance(home, tuple) else copy


def tensors(value: Any, path: Path = ()) -> Iterator[tuple[Path, Tensor]]:
    """Where in these nested lists and dicts tensors stand, and the tensors."""
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, list | tuple | dict):
        for at, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from tensors(item, (*path, at))
