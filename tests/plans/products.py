"""Cases of a product: those that show every pair of values together, the rest with ``pytest -m product``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations, product
from typing import Any

import pytest

__all__ = ["pairs_first"]


def pairs_first(
    axes: Mapping[str, Mapping[str, Any]],
    *,
    valid: Callable[..., bool] = lambda *names: True,
) -> pytest.MarkDecorator:
    """Parametrizes by the product of ``axes`` (argument -> name -> value), of the ``valid`` combinations of names.

    A combination runs by default if it is the first of two values on two axes; others carry the mark ``product``. With
    the mark ``each_value`` beside it the former are thinned further.
    """
    names = [list(values) for values in axes.values()]
    chosen = [places for places in product(*map(range, map(len, names))) if valid(*_named(names, places))]
    seen: set[tuple[tuple[int, int], tuple[int, int]]] = set()
    needed: set[tuple[int, ...]] = set()
    for places in sorted(chosen, key=lambda places: _diagonal(places, names)):
        pairs = set(combinations(enumerate(places), 2))
        if not pairs <= seen:
            needed.add(places)
            seen |= pairs
    params = [_param(axes, _named(names, places), places in needed) for places in chosen]
    return pytest.mark.parametrize(tuple(axes), params)


def _param(axes: Mapping[str, Mapping[str, Any]], names: list[str], needed: bool) -> Any:
    values = [values[name] for values, name in zip(axes.values(), names, strict=True)]
    marks = () if needed else (pytest.mark.product,)
    return pytest.param(*values, id="-".join(names), marks=marks)


def _named(names: list[list[str]], places: tuple[int, ...]) -> list[str]:
    return [values[place] for values, place in zip(names, places, strict=True)]


def _diagonal(places: tuple[int, ...], names: list[list[str]]) -> int:
    """0 on the diagonal of a Latin square in the last axis, whose few entries show most pairs."""
    *others, last = places
    return (last - sum(others)) % len(names[-1])
