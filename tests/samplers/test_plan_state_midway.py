"""PlanState between two rows: copied, given another state, begun there."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from genie_ext.testing import assert_same_bits
from genie_samplers import Plan, PlanState, Program
from genie_samplers.plan import HistoryEntry
from genie_samplers.run import run_rows

from .fakes import VARIANTS, euler, plan_of, solver_plan
from .plan_states import begun, finished, network, outputs_of, start_of

# --- copies


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy], ids=["copy", "deepcopy"])
@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("name", ["deis_tab2", "edm_heun-churn", "dpmpp_2m_sde", "unipc3"])
def test_a_copy_goes_its_own_way(name: str, in_place: bool, copied: Callable[[PlanState], PlanState]) -> None:
    plan = VARIANTS[name]
    state = begun(plan, in_place=in_place)
    run_rows(state, lambda call, state: outputs_of(state), until=2)
    twin, whole = copied(state), finished(begun(plan))
    twin.advance([2.0 * o for o in outputs_of(twin)] if twin.call is not None and twin.call.calls else ())
    assert_same_bits(finished(state), whole)
    assert (state.row, twin.row) == (len(plan.rows), 3)
    again = begun(plan)
    run_rows(again, lambda call, state: outputs_of(state), until=2)
    again.advance([2.0 * o for o in outputs_of(again)] if again.call is not None and again.call.calls else ())
    assert_same_bits(finished(twin), finished(again))


# --- another state between the rows


def test_a_replaced_state_is_what_the_next_row_starts_from() -> None:
    plan, state = solver_plan("ddim", 3), begun(solver_plan("ddim", 3))
    state.advance(network(state.x))
    state.replace(torch.ones_like(state.x))
    rest = PlanState(Program.of(plan), torch.ones_like(state.x), first_row=1)
    assert_same_bits(finished(state), finished(rest))


def test_a_state_that_is_replaced_by_itself_keeps_its_bits_on_the_way_into_the_network() -> None:
    plan = plan_of(euler(1.0, input_scale=0.7), euler(0.5, input_scale=0.7))
    program = Program.of(plan, dtype=torch.bfloat16, model_dtype=torch.float32)
    state = PlanState(program, start_of(plan).bfloat16())
    state.advance(network(state.model_input))
    fed = state.model_input.clone()
    state.replace(state.x.clone())
    assert_same_bits(state.model_input, fed)


def test_a_replaced_state_after_the_last_row_is_the_result() -> None:
    state = begun(solver_plan("ddim", 1))
    state.advance(network(state.x))
    state.replace(torch.ones_like(state.x))
    assert torch.equal(state.x, torch.ones_like(state.x))


def test_what_is_not_finite_is_remembered_by_row() -> None:
    state = begun(solver_plan("ddim", 3))
    state.advance(network(state.x))
    bad = network(state.x)
    bad[1] = torch.nan
    state.advance(bad)
    state.replace(torch.full_like(state.x, torch.inf))
    assert state.nonfinite is not None
    assert state.nonfinite.bool().tolist() == [[False] * 3, [False] * 3, [True] * 3, [False] * 3]


def test_a_state_inside_a_step_cannot_be_replaced() -> None:
    state = begun(VARIANTS["edm_heun"])
    state.advance(network(state.x))
    before = state.x.clone()
    with pytest.raises(ValueError, match="replace: after row 0, a stage whose step goes on from aux"):
        state.replace(torch.zeros_like(state.x))
    assert_same_bits(state.x, before)


# --- in the middle of a plan


def middle(name: str, row: int) -> tuple[Plan, dict[str, Any], Tensor]:
    """A plan, what a state needs to begin in one of its rows, and the final state of the whole run."""
    plan = VARIANTS[name]
    state = begun(plan)
    run_rows(state, lambda call, state: outputs_of(state), until=row)
    read = {entry for later in plan.rows[row:] for entry in later.history if entry.row < row}
    values = {entry: state.value(entry).clone() for entry in read}
    aux = state.aux.clone() if state.aux is not None and plan.layout[row].reads_aux else None
    return plan, {"x": state.x.clone(), "first_row": row, "aux": aux, "values": values}, finished(state)


@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize(("name", "row"), [("deis_tab2", 2), ("edm_heun", 1), ("deis_rho_rk4", 2), ("unipc3", 2)])
def test_a_state_may_begin_in_any_row(name: str, row: int, in_place: bool) -> None:
    plan, where, expected = middle(name, row)
    assert where["values"] or where["aux"] is not None
    assert_same_bits(finished(PlanState(Program.of(plan), **where, in_place=in_place)), expected)


@pytest.mark.parametrize("in_place", [True, False])
def test_what_an_earlier_row_left_must_be_given(in_place: bool) -> None:
    plan, where, _ = middle("deis_tab2", 2)
    where["values"] = {}
    with pytest.raises(ValueError, match=r"values: HistoryEntry\(row=0, h=0\) is missing; a row from 2 on reads it"):
        PlanState(Program.of(plan), **where, in_place=in_place)
    plan, where, _ = middle("edm_heun", 1)
    where["aux"] = None
    with pytest.raises(ValueError, match="aux: missing; from row 1 on the second state of an earlier row is read"):
        PlanState(Program.of(plan), **where, in_place=in_place)


def test_a_value_is_there_while_a_row_to_come_reads_it() -> None:
    plan, state = VARIANTS["deis_tab1"], begun(VARIANTS["deis_tab1"])
    first = network(state.x)
    with pytest.raises(ValueError, match="was not made yet, or no row from 0 on reads it"):
        state.value(HistoryEntry(0))
    state.advance(first)
    assert_same_bits(state.value(HistoryEntry(0)), first)
    state.advance(network(state.x))
    assert HistoryEntry(0) not in plan.rows[2].history
    with pytest.raises(ValueError, match="no row from 2 on reads it"):
        state.value(HistoryEntry(0))
