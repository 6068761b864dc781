"""A row's columns have names; each name is what the reference multiplies by that column."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch

from genie_ext import Noise, column_names, fused_step, row_columns

LAYOUTS = [
    {"outputs": o, "converted": h, "history": k, "draws": d, "aux": aux, "aux_out": aux_out}
    for o, h, k, d, aux, aux_out in product((0, 1, 3), (0, 1, 2), (0, 2), (0, 2), (False, True), (False, True))
]


def test_the_names_of_a_small_row():
    assert column_names(outputs=2, converted=1, history=1, draws=1) == (
        "p0", "q0.0", "q0.1", "bound0", "scale0", "x", "y0", "history0", "draw0", "feed",
    )  # fmt: skip


def test_the_names_of_two_states():
    names = column_names(outputs=0, converted=0, history=1, draws=0, aux=True, aux_out=True)
    assert names == ("x", "aux", "history0", "aux.x", "aux.aux", "aux.history0", "feed")


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: "-".join(str(int(v)) for v in layout.values()))
def test_there_are_as_many_names_as_columns_and_none_twice(layout):
    names = column_names(**layout)
    assert len(names) == len(set(names)) == row_columns(**layout)


VALUES = {"x": 2.0, "aux": 3.0, "q1.0": 5.0, "q1.2": 7.0, "history0": 11.0, "history1": 13.0, "draw1": 17.0}


@pytest.mark.parametrize("name", ["x", "aux", "history0", "history1", "draw1", "aux.x", "aux.aux", "aux.history1"])
def test_a_name_is_what_its_column_multiplies(name):
    names = column_names(outputs=3, converted=2, history=2, draws=2, aux=True, aux_out=True)
    row = torch.zeros(len(names))
    row[names.index(name)] = 1.0
    second = name.startswith("aux.")
    result = step(row)
    assert float(result.aux if second else result.out) == VALUES[name.removeprefix("aux.")]


@pytest.mark.parametrize("name", ["p1", "q1.0", "q1.2"])
def test_a_conversions_names_are_what_its_columns_multiply(name):
    names = column_names(outputs=3, converted=2, history=2, draws=2, aux=True, aux_out=True)
    row = torch.zeros(len(names))
    for column, value in ((name, 1.0), ("bound1", 4.0), ("scale1", 10.0), ("y1", 1.0), ("feed", 0.5)):
        row[names.index(column)] = value
    result = step(row)
    expected = 10.0 * min(4.0, VALUES["x" if name == "p1" else name])
    assert (float(result.out), float(result.x_in)) == (expected, 0.5 * expected)


def step(row: torch.Tensor) -> Any:
    def tensor(name: str) -> torch.Tensor:
        return torch.full((1, 1), VALUES.get(name, 0.0))

    return fused_step(
        tensor("x"),
        [tensor(f"q1.{o}") for o in range(3)],
        [tensor(f"history{k}") for k in range(2)],
        row=row,
        converted=2,
        aux=tensor("aux"),
        draws=[4, tensor("draw1")],
        noise=Noise(torch.zeros(1, dtype=torch.int64), torch.arange(1)),
        aux_out=True,
        x_in=torch.float32,
    )
