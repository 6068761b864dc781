"""The table of warm-ups: what the command writes is what lies in docs."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

pytest.importorskip("diffusers")

from benchmarks.warmup import Row, markdown, mixture_rows

DOCUMENT = Path(__file__).parents[2] / "docs" / "images" / "warmup.csv"


def documented() -> dict[tuple[str, ...], float]:
    with open(DOCUMENT, newline="") as file:
        return {tuple(row[:-1]): float(row[-1]) for row in list(csv.reader(file))[1:]}


def test_the_mixture_errors_are_those_of_the_document() -> None:
    rows = {tuple(map(str, row[:-1])): row.error for row in mixture_rows((8, 16))}
    assert rows == pytest.approx({key: documented()[key] for key in rows}, rel=1e-3)


def test_the_least_error_of_a_cell_is_bold() -> None:
    rows = [Row("network", "karras", "deis_tab1", 5, warmup, error) for warmup, error in (("a", 0.25), ("b", 0.5))]
    assert "| deis_tab1 | **0.25** / 0.5 |" in markdown(rows)
