"""Which cases of a long list run by default."""

from __future__ import annotations

from itertools import product

import pytest

from .covering import cover


def places(*axes: range) -> list[frozenset[tuple[int, int]]]:
    """The cases of a product, each the set of its (axis, value)."""
    return [frozenset(enumerate(values)) for values in product(*axes)]


def test_a_product_is_covered_by_as_many_cases_as_its_longest_list_has_values() -> None:
    cases = places(range(7), range(3), range(2))
    chosen = cover(cases)
    assert len(chosen) == 7
    assert frozenset().union(*(cases[place] for place in chosen)) == frozenset().union(*cases)


def test_the_values_of_the_shorter_lists_take_turns() -> None:
    cases = places(range(6), range(3))
    second = sorted(value for place in cover(cases) for axis, value in cases[place] if axis == 1)
    assert second == [0, 0, 1, 1, 2, 2]


def test_a_case_that_shows_nothing_new_is_left_out() -> None:
    assert cover([frozenset("ab"), frozenset("a"), frozenset("c")]) == {0, 2}


letters, numbers = pytest.mark.parametrize("letter", "xyz"), pytest.mark.parametrize("number", range(2))


@pytest.fixture(scope="module")
def run_here(request: pytest.FixtureRequest) -> set[str]:
    """The tests of this file that are run."""
    return {item.name for item in request.session.items if item.path == request.path}


@letters
@numbers
@pytest.mark.each_value
def test_every_value_is_shown(letter: str, number: int, run_here: set[str]) -> None:
    assert {f"test_every_value_is_shown[{case}]" for case in ("0-x", "1-y", "0-z")} <= run_here


@letters
@numbers
@pytest.mark.each_value("letter", "number")
def test_every_combination_of_the_names_given_is_shown(letter: str, number: int, run_here: set[str]) -> None:
    name = "test_every_combination_of_the_names_given_is_shown"
    assert {f"{name}[{b}-{a}]" for a in "xyz" for b in range(2)} <= run_here
