"""Orders of convergence: measured slopes against the registry, and the document against the measurement."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from .orders import OPTIONAL, case_of, deterministic, measured, measured_option
from .plans import TABLES
from .weak_orders import WEAK, weak_slopes

NEAR = 0.25  # a slope that close to a whole number names it
DOCUMENT = Path(__file__).parents[2] / "docs" / "orders.md"


def in_every_way(test: Callable[..., None]) -> Callable[..., None]:
    """To sample and to encode; by default every solver in one way, the same in every test: it is measured once."""
    ways = pytest.mark.parametrize("way", [1, -1], ids=["sample", "encode"])
    return ways(pytest.mark.parametrize("name", deterministic())(pytest.mark.each_value(test)))


@in_every_way
def test_the_error_falls_with_the_declared_order(name: str, way: int) -> None:
    assert measured(name, way) == pytest.approx(TABLES[name].order, abs=NEAR)


@pytest.mark.parametrize(("name", "option"), OPTIONAL)
def test_an_option_or_an_end_has_its_own_order(name: str, option: str) -> None:
    assert measured_option(name, option) == pytest.approx(OPTIONAL[name, option][1], abs=NEAR)


@pytest.mark.parametrize("name", WEAK)
def test_the_law_of_gaussian_data_is_reached_with_the_weak_order(name: str) -> None:
    slopes = [slope for slope in weak_slopes(name) if slope == slope]  # NaN: exact
    assert min(slopes) == pytest.approx(WEAK[name].claim, abs=NEAR)


def test_every_stochastic_solver_has_its_weak_order_measured() -> None:
    assert {name for name, solver in TABLES.items() if solver.stochastic} <= {case.solver for case in WEAK.values()}


def documented(first: str, second: str) -> list[str]:
    """The row of docs/orders.md that begins with these two cells."""
    lines = [line for line in DOCUMENT.read_text().splitlines() if line.startswith(f"| {first} | {second} |")]
    return [cell.strip() for cell in lines[0].split("|")[1:-1]]


@in_every_way
def test_the_document_shows_the_measured_slopes(name: str, way: int) -> None:
    *_, sampling, encoding, where = documented(name, str(TABLES[name].order))
    assert float({1: sampling, -1: encoding}[way]) == pytest.approx(measured(name, way), abs=0.02)
    assert where.endswith(case_of(name).why)


@pytest.mark.parametrize(("name", "option"), OPTIONAL)
def test_the_document_shows_the_slopes_of_the_options(name: str, option: str) -> None:
    assert float(documented(name, option)[3]) == pytest.approx(measured_option(name, option), abs=0.02)
