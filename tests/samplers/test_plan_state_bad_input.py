"""PlanState refuses what does not fit, and a refused row leaves the state as it was."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from genie_ext.testing import assert_same_bits
from genie_samplers import PlanState, Program
from genie_samplers.plan import Combination, Conversion, HistoryEntry, Row
from genie_samplers.run import Start

from .fakes import SHAPE, VARIANTS, euler, plan_of, solver_plan
from .plan_states import begun, network, noise_of

DRAWING = plan_of(
    euler(1.0),
    Row(0.5, Combination(1.0, y=(1.0,), draws=(1.0,)), converted=(Conversion(0.0, (1.0,)),), draws=(0,)),
)
X, Z = torch.ones(2, 3), torch.full((2, 3), 2.0)
WRONG: dict[str, tuple[Any, Any, type[Exception], str]] = {
    "no outputs": ((), [Z], ValueError, "model: returned 0 outputs in row 1; the plan reads 1"),
    "two outputs": ((X, X), [Z], ValueError, "model: returned 2 outputs in row 1; the plan reads 1"),
    "output shape": (X[:1], [Z], ValueError, r"output 'epsilon' in row 1 has shape \(1, 3\); the state has \(2, 3\)"),
    "output dtype": (X.int(), [Z], TypeError, "has dtype torch.int32; return a float tensor"),
    "no draw": (X, [], ValueError, "draws: 0 given in row 1, which draws 1"),
    "two draws": (X, [Z, Z], ValueError, "draws: 2 given in row 1, which draws 1"),
    "draw shape": (X, [Z[:1]], ValueError, r"draws: in row 1: shape \(1, 3\); need \(2, 3\)"),
    "draw dtype": (X, [Z.int()], TypeError, "draws: in row 1: dtype torch.int32; need a float dtype"),
    "draw device": (X, [Z.to("meta")], ValueError, "draws: in row 1: on meta; the state is on cpu"),
    "draw type": (X, [2.0], TypeError, "draws: in row 1: float; pass a tensor"),
    "no list of draws": (X, Z, TypeError, r"draws: a tensor \(.*\) in row 1; pass a list of tensors"),
}


@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize(("outputs", "draws", "error", "message"), WRONG.values(), ids=WRONG.keys())
def test_a_row_that_is_refused_leaves_the_state_as_it_was(
    outputs: Any, draws: Any, error: type[Exception], message: str, in_place: bool
) -> None:
    state = PlanState(Program.of(DRAWING), X, in_place=in_place)
    state.advance(X)
    before = state.x.clone()
    with pytest.raises(error, match=message):
        state.advance(outputs, draws)
    assert state.row == 1
    assert_same_bits(state.x, before)
    state.advance(X, [Z])
    assert torch.equal(state.x, before + X + Z)


def test_a_state_that_draws_takes_no_draws() -> None:
    plan = VARIANTS["ddim-eta"]
    state = begun(plan)
    with pytest.raises(ValueError, match="draws: 1 given in row 0, but the state draws from its own noise"):
        state.advance(network(state.x), [torch.zeros(3, *SHAPE)])
    assert state.row == 0


def test_after_the_last_row_there_is_none() -> None:
    state = begun(solver_plan("ddim", 1))
    state.advance(network(state.x))
    with pytest.raises(ValueError, match="PlanState: all 1 rows have run; make a new one"):
        state.advance(network(state.x))


def test_a_state_inside_a_step_cannot_be_replaced() -> None:
    state = begun(VARIANTS["edm_heun"])
    state.advance(network(state.x))
    before = state.x.clone()
    with pytest.raises(ValueError, match="replace: after row 0, a stage whose step goes on from aux"):
        state.replace(torch.zeros_like(state.x))
    assert_same_bits(state.x, before)


HEUN = Program.of(VARIANTS["edm_heun"])
BEGINNINGS: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "no program": ({"program": VARIANTS["edm_heun"]}, TypeError, r"program: Plan; pass Program.of\(plan\)"),
    "no noise": ({"noise": (7, [0, 1])}, TypeError, r"noise: tuple; pass genie_ext.Noise\(seed, sample_ids\)"),
    "no tensor": ({"x": [[1.0]]}, TypeError, "x: list; pass the state at the plan's first time"),
    "flat": ({"x": torch.ones(3)}, ValueError, r"x: shape \(3,\); need \[b, ...\]"),
    "dtype": ({"x": torch.ones(2, 3).double()}, ValueError, "x: torch.float64 on cpu; the program runs in"),
    "ids": ({"noise": noise_of([1, 2, 3])}, ValueError, "noise: 3 sample ids for 2 samples; give one per sample"),
    "scales": (
        {"program": Program.of(solver_plan("ddim", 2).guided([1.0, 2.0, 3.0]))},
        ValueError,
        r"x: 2 samples, but the program's table has numbers for 3; take program.for_samples\(index\)",
    ),
    "start": ({"start": Start(0.0, 2.0)}, ValueError, "start: draws noise of scale 2.0; pass noise="),
    "first row": ({"first_row": 99}, ValueError, "first_row=99; the plan has .* rows, so it is 0.."),
    "fraction": ({"first_row": 1.0}, TypeError, "first_row=1.0: give an integer"),
    "aux shape": ({"first_row": 1, "aux": torch.ones(1, 3)}, ValueError, r"aux: shape \(1, 3\); need \(2, 3\)"),
    "aux dtype": ({"first_row": 1, "aux": torch.ones(2, 3).double()}, TypeError, "aux: dtype torch.float64; need"),
    "unread value": ({"values": {HistoryEntry(0): X}}, ValueError, "is read by no row from 0 on; leave it out"),
}


@pytest.mark.parametrize(("options", "error", "message"), BEGINNINGS.values(), ids=BEGINNINGS.keys())
def test_a_beginning_that_does_not_fit_the_program_is_refused(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        PlanState(**{"program": HEUN, "x": torch.ones(2, 3)} | options)
