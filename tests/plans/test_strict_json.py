"""Dataclasses to JSON and back, with nothing guessed."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import pytest

from genie_samplers.plan import FrozenMapping
from genie_samplers.plan.strict_json import decode, encode


class Pair(NamedTuple):
    a: int
    b: int


@dataclass(frozen=True)
class Leaf:
    number: float
    count: int = 1


@dataclass(frozen=True)
class Tree:
    name: str
    leaves: tuple[Leaf, ...] = ()
    pairs: tuple[Pair, ...] = ()
    only: Leaf | None = None
    numbers: tuple[float, ...] | None = None
    options: Mapping[str, object] = field(default_factory=dict)


FULL = Tree(
    "oak",
    (Leaf(0.1, 2), Leaf(math.inf)),
    (Pair(1, 2),),
    Leaf(-0.0),
    (1.5,),
    FrozenMapping({"deep": [1, {"x": True}]}),
)
FULL_JSON = {
    "name": "oak",
    "leaves": [{"number": 0.1, "count": 2}, {"number": None, "count": 1}],
    "pairs": [[1, 2]],
    "only": {"number": -0.0, "count": 1},
    "numbers": [1.5],
    "options": {"deep": [1, {"x": True}]},
}


def test_encode_writes_plain_json_with_null_for_infinity() -> None:
    assert encode(FULL) == FULL_JSON


def test_decode_reads_what_encode_wrote() -> None:
    assert decode(Tree, FULL_JSON) == FULL
    assert math.copysign(1.0, decode(Leaf, {"number": -0.0, "count": 1}).number) == -1.0


@dataclass(frozen=True)
class Shrub:
    kind: ClassVar[str] = "shrub"

    name: str


def test_a_class_with_a_kind_is_written_with_it() -> None:
    assert encode(Shrub("box")) == {"kind": "shrub", "name": "box"}
    assert decode(Shrub, {"kind": "shrub", "name": "box"}) == Shrub("box")


@pytest.mark.parametrize("kind", ["tree", None, 1, ["shrub"]])
def test_another_kind_is_refused(kind: Any) -> None:
    with pytest.raises(ValueError, match=rf"garden.kind: {re.escape(repr(kind))}; need 'shrub'"):
        decode(Shrub, {"kind": kind, "name": "box"}, path="garden")


def test_an_integer_where_a_float_is_meant_becomes_one() -> None:
    written = encode(Tree("oak", (Leaf(3),), numbers=(2,)))
    assert [type(v) for v in (written["leaves"][0]["number"], written["numbers"][0])] == [
        float,
        float,
    ]
    read = decode(Leaf, {"number": 3, "count": 2})
    assert [type(v) for v in (read.number, read.count)] == [float, int]


@pytest.mark.parametrize(
    "value",
    [
        Leaf(-math.inf),
        Leaf(math.nan),
        Tree("x", options={"eta": math.inf}),
        Tree("x", options={"e": [math.nan]}),
    ],
)
def test_what_json_lacks_is_not_written(value: object) -> None:
    with pytest.raises(ValueError, match=r"(inf|nan) cannot be written as JSON; a plan holds finite numbers"):
        encode(value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": 3}, "tree.name: 3; need str"),
        ({"leaves": {}}, r"tree.leaves: \{\}; need a list"),
        ({"leaves": [1]}, r"tree.leaves\[0\]: 1; need an object"),
        (
            {"leaves": [{"number": 1.0}]},
            r"tree.leaves\[0\]: unknown keys \[\], missing keys \['count'\]",
        ),
        (
            {"leaves": [{"number": 1.0, "count": 1, "z": 0}]},
            r"tree.leaves\[0\]: unknown keys \['z'\]",
        ),
        ({"leaves": [{"number": True, "count": 1}]}, r"tree.leaves\[0\].number: True; need float"),
        (
            {"leaves": [{"number": math.nan, "count": 1}]},
            r"tree.leaves\[0\].number: nan; need float",
        ),
        (
            {"leaves": [{"number": math.inf, "count": 1}]},
            r"tree.leaves\[0\].number: inf; need float",
        ),
        ({"leaves": [{"number": 1.0, "count": True}]}, r"tree.leaves\[0\].count: True; need int"),
        ({"leaves": [{"number": 1.0, "count": None}]}, r"tree.leaves\[0\].count: None; need int"),
        ({"pairs": [[1]]}, r"tree.pairs\[0\]: \[1\]; need \['a', 'b'\]"),
        ({"pairs": [[1, 2.0]]}, r"tree.pairs\[0\]: 2.0; need int"),
        ({"only": 5}, "tree.only: 5; need an object"),
        ({"numbers": 5}, "tree.numbers: 5; need a list"),
        ({"options": []}, r"tree.options: \[\]; need an object"),
        ({"options": {"eta": math.nan}}, "tree.options.eta=nan: JSON holds no infinity and no NaN"),
        ({"bark": 1}, r"tree: unknown keys \['bark'\], missing keys \[\]"),
    ],
)
def test_anything_else_is_refused_with_its_path(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode(Tree, FULL_JSON | change, path="tree")
