"""Operators that do something else than writing into out: each is named, and where it was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import genie_samplers as gs
from genie_ext.testing import assert_same_bits
from genie_samplers import Plan

from .operator_plans import (
    FILTERED,
    MODEL,
    ON_START,
    ON_STATE,
    PLAIN,
    SHAPE,
    begun,
    every_plan,
    finished,
    identity,
    mirrored,
    run,
)


def raised(plan: Plan, operators: Mapping[str, Any] | None) -> str:
    with pytest.raises((ValueError, TypeError)) as error:
        gs.sample(MODEL, plan, shape=SHAPE, operators=operators)
    return str(error.value)


def asserting(value: Tensor, index: int, out: Tensor) -> None:
    assert value is out


def elsewhere(value: Tensor, index: int, out: Tensor) -> None:
    out.data = value.clone()


def moving(value: Tensor, index: int, out: Tensor) -> None:
    identity(value, index, out)
    value.data = value.clone()


@pytest.mark.parametrize("kind", [MemoryError, torch.OutOfMemoryError])
def test_out_of_memory_stays_what_callers_look_for(kind: type[Exception]) -> None:
    def failing(value: Tensor, index: int, out: Tensor) -> None:
        raise kind("of 4 GiB")

    with pytest.raises(kind, match=r"operators\['f'\]: failed in row 0 .* of 4 GiB"):
        run(FILTERED, failing)


def resized(value: Tensor, index: int, out: Tensor) -> None:
    out.resize_(1)


@pytest.mark.parametrize(
    ("operators", "message"),
    [
        (None, "operators: 'f' is missing, which the plan applies; pass operators={'f': ...}"),
        ({}, "operators: 'f' is missing"),
        ({"f": identity, "g": identity}, "operators: the plan applies no 'g' (it applies 'f'); leave it out"),
        ({"f": 3}, "operators['f']: int is not callable; pass a function of (value, index, out)"),
        ([identity], "operators: list; pass a mapping of names to functions"),
        ({"f": lambda value, index, out: 2.0 * value}, "returned torch.float32 (3, 2, 5, 3) in row 0; write into out"),
        (
            {"f": lambda value, index, out: out.copy_(value[:, :, 1:])},
            "operators['f']: failed in row 0 on (3, 2, 5",
        ),
        ({"f": lambda value: None}, "operators['f']: failed in row 0"),
        ({"f": lambda value, index, out: value.zero_() and None}, "operators['f']: "),
        (
            {"f": lambda value, index, out: out.fill_(float("nan"))},
            "operators['f']: made inf or NaN of draw 0",
        ),
        ({"f": resized}, "operators['f']: "),
        (
            {"f": lambda value, index, out: {}["gain"]},
            "operators['f']: failed in row 0 on (3, 2, 5, 3): KeyError 'gain'",
        ),
        ({"f": asserting}, "operators['f']: failed in row 0 on (3, 2, 5, 3): AssertionError"),
        ({"f": lambda value, index, out: value.nothing}, "operators['f']: failed in row 0 on (3, 2, 5, 3): Attribute"),
        ({"f": lambda value, index, out: 1 / 0}, "operators['f']: failed in row 0 on (3, 2, 5, 3): ZeroDivisionError"),
        ({"f": elsewhere}, "operators['f']: gave out or value other memory in row 0; write by out.copy_(...)"),
        ({"f": moving}, "operators['f']: gave out or value other memory in row 0; write by out.copy_(...)"),
    ],
)
def test_bad_operators_are_named(operators: Any, message: str) -> None:
    assert message in raised(FILTERED, operators)


def too_large(value: Tensor, index: int, out: Tensor) -> None:
    np.empty(2**50)


def test_an_operator_that_numpy_has_no_memory_for_says_so() -> None:
    with pytest.raises(MemoryError, match=r"operators\['f'\]: failed in row 0 .* Unable to allocate"):
        run(FILTERED, too_large)


def test_an_operator_without_use_is_refused() -> None:
    assert raised(PLAIN, {"f": identity}) == "operators: the plan applies no 'f' (it applies none); leave it out"


def written_to(value: Tensor, index: int, out: Tensor) -> None:
    value.mul_(2.0)
    out.copy_(value)


def test_an_operator_that_writes_into_what_it_is_given_is_refused() -> None:
    assert "operators['f']: wrote into value in row 0" in raised(ON_STATE, {"f": written_to})


def rebound(value: Tensor, index: int, out: Tensor) -> None:
    out = 0.5 * value  # noqa: F841  (a name of its own: nothing is written)


@every_plan
def test_an_operator_that_leaves_its_output_unwritten_is_noticed(plan: Plan) -> None:
    with pytest.raises(gs.NonFiniteError, match=r"operators\['f'\]"):
        run(plan, rebound)


def test_a_bad_operator_on_the_start_is_named() -> None:
    assert "operators['f']: returned float on the initial noise" in raised(ON_START, {"f": lambda *given: 1.0})


def test_a_start_that_an_operator_spoils_says_so() -> None:
    message = raised(ON_START, {"f": lambda value, index, out: out.fill_(float("inf"))})
    assert "(or operators['f'] made them)" in message


def test_a_state_is_as_it_was_after_an_operator_failed() -> None:
    calls = iter([True, False])

    def failing_once(value: Tensor, index: int, out: Tensor) -> None:
        if next(calls, False):
            raise RuntimeError("no memory")
        mirrored(value, index, out)

    state = begun(FILTERED, operator=failing_once)
    with pytest.raises(ValueError, match="no memory"):
        state.advance()
    assert state.row == 0
    assert_same_bits(finished(state), finished(begun(FILTERED)))
