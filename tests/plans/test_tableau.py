"""Butcher tableaus: exact, and only those that fulfil their order conditions."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from scipy.integrate import RK45

from genie_samplers.adaptive.tableau import DOPRI5, EULER_CHANGE
from genie_samplers.numerics import Tableau, butcher
from genie_samplers.solvers.deis_rho_rk import TABLEAUS

ALL: dict[str, Tableau] = {**TABLEAUS, "dopri5": DOPRI5, "euler_change": EULER_CHANGE}


@pytest.mark.parametrize("tableau", ALL.values(), ids=ALL.keys())
def test_the_arrays_are_the_fractions_rounded_once(tableau: Tableau) -> None:
    assert tableau.c_array.tolist() == [float(v) for v in tableau.c]
    assert [row[:i].tolist() for i, row in enumerate(tableau.a_array)] == [[float(v) for v in row] for row in tableau.a]
    assert not np.triu(tableau.a_array).any()


LOWER = {name: tableau for name, tableau in TABLEAUS.items() if tableau.order < 4}


@pytest.mark.parametrize("tableau", LOWER.values(), ids=LOWER.keys())
def test_a_method_has_no_higher_order_than_it_says(tableau: Tableau) -> None:
    with pytest.raises(ValueError, match="the order asks for"):
        Tableau(tableau.order + 1, tableau.a, tableau.b)


def test_dormand_and_prince_are_those_of_scipy() -> None:
    assert DOPRI5.c_array[:-1].tolist() == RK45.C.tolist()
    assert DOPRI5.a_array[:-1, :5].tolist() == RK45.A.tolist()
    assert [float(v) for v in DOPRI5.b[:-1]] == RK45.B.tolist()
    assert DOPRI5.error_array.tolist() == RK45.E.tolist()


@pytest.mark.parametrize("tableau", [DOPRI5, EULER_CHANGE], ids=["dopri5", "euler_change"])
def test_the_last_stage_of_an_adaptive_pair_stands_at_the_new_state(tableau: Tableau) -> None:
    assert tableau.first_same_as_last
    assert not TABLEAUS["rk4"].first_same_as_last


HEUN = {"order": 2, "a": ((1,),), "b": ("1/2", "1/2")}
RK4 = {"order": 4, "a": (("1/2",), (0, "1/2"), (0, 0, 1)), "b": ("1/6", "1/3", "1/3", "1/6")}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"a": ()}, r"a has rows of \[0\] entries; need 0, 1, .. 1"),
        ({"a": ((1, 0),)}, r"a has rows of \[0, 2\] entries"),
        ({"b": ("1/2", "1/3")}, r"b: sum of b \* 1 is 5/6; the order asks for 1"),
        ({"b": ("1/3", "2/3")}, r"b: sum of b \* c is 2/3; the order asks for 1/2"),
        ({"order": 3}, r"b: sum of b \* c\^2 is 1/2; the order asks for 1/3"),
        ({"error": (1,)}, r"error=\(Fraction\(1, 1\),\): need 2 weights, as b, or None"),
        ({"error": (1, 1)}, r"error: sum of error \* 1 is 2; the order asks for 0"),
        ({"error": (1, "-1/2"), "error_order": 1}, r"error: sum of error \* 1 is 1/2; the order asks for 0"),
        ({"error": (1, -1), "error_order": 2}, r"error: sum of error \* c is -1; the order asks for 0"),
        (RK4 | {"a": (("1/2",), ("1/4", "1/4"), (0, 0, 1))}, r"b: sum of b \* a c is 1/8; the order asks for 1/6"),
        (RK4 | {"b": ("1/6", "2/3", 0, "1/6")}, r"b: sum of b \* a c is 1/12; the order asks for 1/6"),
    ],
)
def test_a_tableau_that_breaks_a_condition_cannot_exist(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        butcher(**(HEUN | changes))


def test_without_an_error_estimate_there_are_no_weights_of_it() -> None:
    with pytest.raises(ValueError, match="tableau: has no error estimate; take an embedded pair"):
        TABLEAUS["heun"].error_array  # noqa: B018


def test_a_stage_stands_at_its_rows_sum() -> None:
    assert TABLEAUS["houwen3"].c == (0, Fraction(8, 15), Fraction(2, 3))
