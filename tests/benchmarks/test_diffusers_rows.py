"""What diffusers' schedulers make of unit impulses, against the plans that they should be."""

from __future__ import annotations

import pytest

pytest.importorskip("diffusers")

from benchmarks.diffusers_rows import COMPARISONS, Comparison, deviation

SINGLE = 2.0**-24
ROUNDINGS = 160  # of their float32 tables: 16 per step, which cancellation in a row may enlarge tenfold

OTHER_FORMULAS = ("dpmpp_3m", "deis_tab2")
same = pytest.mark.parametrize(
    "comparison", [c for c in COMPARISONS if c.solver not in OTHER_FORMULAS], ids=lambda c: c.solver
)
other = pytest.mark.parametrize(
    "comparison", [c for c in COMPARISONS if c.solver in OTHER_FORMULAS], ids=lambda c: c.solver
)


@same
def test_our_rows_are_those_of_the_scheduler(comparison: Comparison) -> None:
    assert deviation(comparison, steps=25) <= ROUNDINGS * SINGLE


@other
def test_the_rows_of_another_formula_are_told_apart(comparison: Comparison) -> None:
    assert deviation(comparison, steps=25) > 100 * ROUNDINGS * SINGLE
