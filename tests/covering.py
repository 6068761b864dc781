"""Of a test's many cases those that show every value of every argument; the rest carries the mark ``product``.

The mark ``each_value`` asks for it, of a test or a module. Names given to it are arguments of which every combination
is shown, not only every value: ``each_value("schedule", "grid")``. What guards bits, golden values and refusals has no
such mark.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from typing import Any

import pytest

__all__ = ["cover", "mark_products"]


def mark_products(items: Sequence[pytest.Item]) -> None:
    """``product`` for every item with the mark ``each_value`` that shows nothing new beside the others of its test."""
    tests: dict[str, list[pytest.Function]] = defaultdict(list)
    for item in items:
        if isinstance(item, pytest.Function) and hasattr(item, "callspec") and item.get_closest_marker("each_value"):
            tests[item.nodeid.partition("[")[0]].append(item)
    for cases in tests.values():
        usual = [case for case in cases if not case.get_closest_marker("product")]
        chosen = cover([_shown(case) for case in usual])
        for place, case in enumerate(usual):
            if place not in chosen:
                case.add_marker("product")


def cover(cases: Sequence[frozenset[Hashable]]) -> set[int]:
    """Places of cases that together show what all of them show.

    Again and again the first of those that show most that is new, and of these the one whose rest was shown least: the
    diagonals of a product, one after the other.
    """
    left, seen, chosen = set[Hashable]().union(*cases), Counter[Hashable](), set[int]()
    while left:
        worth = [(len(case & left), -sum(seen[value] for value in case)) for case in cases]
        best = max(range(len(cases)), key=worth.__getitem__)
        chosen.add(best)
        seen.update(cases[best])
        left -= cases[best]
    return chosen


def _shown(case: pytest.Function) -> frozenset[Hashable]:
    """Every argument's value, and the combination of the arguments that the mark names."""
    values = {name: _key(value) for name, value in case.callspec.params.items()}  # type: ignore[attr-defined]
    mark = case.get_closest_marker("each_value")
    together = () if mark is None else mark.args
    return frozenset([*values.items(), *([tuple(values[name] for name in together)] if together else [])])


def _key(value: Any) -> Hashable:
    """A word or a number itself, else which object it is."""
    return (type(value), value if isinstance(value, str | int | float | None) else id(value))
