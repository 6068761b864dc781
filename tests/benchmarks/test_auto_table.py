"""docs/auto.md shows what benchmarks/auto.py measured."""

from __future__ import annotations

import csv
import statistics
from pathlib import Path

import pytest

from benchmarks.auto import SCHEDULES, markdown, rows

DOCS = Path(__file__).parents[2] / "docs"
with open(DOCS / "images" / "auto.csv", newline="") as file:
    MEASURED = list(csv.DictReader(file))


def test_the_page_shows_the_table_of_the_csv() -> None:
    ratios = [float(row["ratio"]) for row in MEASURED]
    page = (DOCS / "auto.md").read_text()
    assert markdown(MEASURED) in page
    assert f"Median {statistics.median(ratios):.2f}, worst {max(ratios):.2f}" in page
    assert f"{sum(r <= 2.0 for r in ratios)} of {len(ratios)} within twice" in page


def test_every_schedule_is_in_it() -> None:
    assert list(dict.fromkeys(row["schedule"] for row in MEASURED)) == list(SCHEDULES)


@pytest.mark.parametrize("name", ["flow, shift 3", "edm"])
def test_a_cell_is_measured_as_it_was(name: str) -> None:
    chosen, error, best, least = rows(SCHEDULES[name], 5)
    (row,) = (row for row in MEASURED if (row["schedule"], row["nfe"]) == (name, "5"))
    assert (chosen, best) == (row["auto"], row["best"])
    assert error == pytest.approx(float(row["error"]), rel=1e-3)
    assert least == pytest.approx(float(row["best_error"]), rel=1e-3)
