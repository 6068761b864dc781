"""A PlanState that somebody else writes to, or that is interrupted: noticed before it would give another sample."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import genie_ext
from genie_ext.testing import assert_same_bits
from genie_samplers import PlanState, Program
from genie_samplers.plan import HistoryEntry
from genie_samplers.run import run_rows

from .fakes import VARIANTS, euler, plan_of, solver_plan

X = torch.linspace(-2.0, 2.0, 24).reshape(2, 3, 2, 2)
PLAN = solver_plan("deis_tab2", 4)
STAGES = solver_plan("dpm_solver_2s", 6)


def halved(call: Any, state: PlanState) -> Tensor:
    return 0.5 * state.model_input


def under_way(rows: int = 2, **options: Any) -> PlanState:
    return run_rows(PlanState(Program.of(PLAN), X, **options), halved, until=rows)


# --- written to by somebody else


def assigned(state: PlanState) -> None:
    state.x = state.x.clamp(-1.0, 1.0)


def written(state: PlanState) -> None:
    state.x.clamp_(-1.0, 1.0)


def written_by_a_network(state: PlanState) -> None:
    state.model_input.mul_(0.5)


@pytest.mark.parametrize("rows", [0, 2])
@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("touch", [assigned, written, written_by_a_network])
def test_a_state_that_somebody_wrote_to_is_refused(
    touch: Callable[[PlanState], None], in_place: bool, rows: int
) -> None:
    state = under_way(rows, in_place=in_place)
    touch(state)
    message = rf"x: written to or assigned before row {rows}; change the state by replace\(x\)"
    with pytest.raises(ValueError, match=message):
        state.advance(torch.zeros_like(X))
    with pytest.raises(ValueError, match=message):
        state.replace(X)
    assert state.row == rows


def test_a_state_that_was_written_to_may_be_restarted() -> None:
    state = under_way()
    state.x.zero_()
    state.restart(X)
    assert_same_bits(run_rows(state, halved).x, under_way(99).x)


# --- interrupted


class _Interrupt(TorchDispatchMode):
    """Ctrl-C right after the first operation of this name."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket.__name__ == self.name:
            raise KeyboardInterrupt
        return result


@pytest.fixture(params=[(True, "copy_"), (False, "add")], ids=["in_place", "out_of_place"])
def interrupted_state(request: pytest.FixtureRequest) -> PlanState:
    """Interrupted inside row 2."""
    in_place, operation = request.param
    state = PlanState(Program.of(PLAN, backend="reference"), X, in_place=in_place)
    run_rows(state, halved, until=2)
    with suppress(KeyboardInterrupt), _Interrupt(operation):
        state.advance(torch.zeros_like(X))
    return state


@pytest.mark.parametrize(
    "use",
    [PlanState.advance, PlanState.replace, lambda state, x: copy.copy(state).advance(x)],
    ids=["advance", "replace", "copy"],
)
def test_a_row_that_was_interrupted_is_not_run_twice(
    interrupted_state: PlanState, use: Callable[[PlanState, Tensor], None]
) -> None:
    message = "PlanState: row 2 was interrupted and may be half done; restart the state"
    with pytest.raises(ValueError, match=message):
        use(interrupted_state, torch.zeros_like(X))


def test_a_state_that_was_interrupted_may_be_restarted(interrupted_state: PlanState) -> None:
    interrupted_state.restart(X)
    assert_same_bits(run_rows(interrupted_state, halved).x, under_way(99).x)


def test_an_interrupted_network_is_asked_again() -> None:
    asked = iter([True])

    def interrupted(call: Any, state: PlanState) -> Tensor:
        if call.row == 2 and next(asked, False):
            raise KeyboardInterrupt
        return 0.5 * state.model_input

    state = PlanState(Program.of(PLAN), X)
    with suppress(KeyboardInterrupt):
        run_rows(state, interrupted)
    assert_same_bits(run_rows(state, interrupted).x, under_way(99).x)


# --- its own memory given back to it


@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("scale", [1.0, 0.7])
def test_a_state_may_be_replaced_by_a_view_of_itself(scale: float, in_place: bool) -> None:
    plan = plan_of(euler(1.0, input_scale=scale), euler(0.5, input_scale=scale))
    state, other = (PlanState(Program.of(plan), X, in_place=in_place) for _ in range(2))
    state.replace(state.x.mT)
    other.replace(X.mT.clone())
    assert_same_bits(state.model_input.contiguous(), other.model_input.contiguous())
    assert_same_bits(run_rows(state, halved).x, run_rows(other, halved).x)


@pytest.mark.parametrize("in_place", [True, False])
def test_a_state_may_be_restarted_from_its_own_tensors(in_place: bool) -> None:
    state = PlanState(Program.of(STAGES), X, first_row=1, aux=2.0 * X, in_place=in_place)
    assert state.aux is not None
    state.restart(state.aux, aux=state.x)
    assert torch.equal(state.x, 2.0 * X)
    assert torch.equal(state.aux, X)


@pytest.mark.parametrize("in_place", [True, False])
def test_values_may_change_places(in_place: bool) -> None:
    newest, older = HistoryEntry(1), HistoryEntry(0)
    state = PlanState(Program.of(PLAN), X, first_row=2, values={newest: X, older: 3.0 * X}, in_place=in_place)
    state.restart(X, values={newest: state.value(older), older: state.value(newest)})
    assert torch.equal(state.value(newest), 3.0 * X)
    assert torch.equal(state.value(older), X)


# --- memory of the caller


@pytest.mark.parametrize("in_place", [True, False])
def test_what_a_state_began_with_is_not_written_to(in_place: bool) -> None:
    aux = torch.zeros_like(X)
    state = PlanState(Program.of(STAGES), X, first_row=1, aux=aux, in_place=in_place)
    state.restart(X, aux=torch.ones_like(X))
    run_rows(state, halved)
    assert torch.equal(aux, torch.zeros_like(X))


def test_values_that_a_state_began_with_are_not_written_to() -> None:
    values = {HistoryEntry(row): torch.zeros_like(X) for row in range(2)}
    state = PlanState(Program.of(PLAN), X, first_row=2, values=values, in_place=False)
    state.restart(X, values={entry: torch.ones_like(X) for entry in values})
    assert not any(value.any() for value in values.values())


@pytest.mark.parametrize("in_place", [True, False])
def test_a_replacement_belongs_to_its_owner(in_place: bool) -> None:
    state, replacement = under_way(in_place=in_place), X.clone()
    state.replace(replacement)
    replacement.zero_()
    assert torch.equal(state.x, X)


@pytest.mark.parametrize("in_place", [True, False])
def test_what_a_state_is_given_may_be_of_any_strides(in_place: bool) -> None:
    last = torch.channels_last
    given = PlanState(
        Program.of(STAGES), X.to(memory_format=last), first_row=1, aux=X.to(memory_format=last), in_place=in_place
    )
    dense = PlanState(Program.of(STAGES), X, first_row=1, aux=X, in_place=in_place)
    assert_same_bits(run_rows(given, halved, until=2).x, run_rows(dense, halved, until=2).x)
    given.replace((2.0 * X).to(memory_format=last))
    dense.replace(2.0 * X)
    assert_same_bits(run_rows(given, halved).x, run_rows(dense, halved).x)


def test_a_complex_replacement_is_refused() -> None:
    with pytest.raises(TypeError, match=r"replace: dtype torch\.complex64; pass a real tensor"):
        under_way().replace(X.to(torch.complex64))


def test_a_restart_refuses_gradients_that_it_would_end() -> None:
    state = under_way()
    with pytest.raises(ValueError, match="x, aux or values: require grad"):
        state.restart(X.clone().requires_grad_())
    assert state.row == 2


# --- sent elsewhere


@pytest.mark.parametrize("name", ["deis_tab2", "edm_heun-churn", "dpmpp_2m"])
@pytest.mark.parametrize("rows", [0, 2])
def test_a_state_can_be_sent_to_another_process(name: str, rows: int) -> None:
    plan = VARIANTS[name]
    noise = genie_ext.Noise(torch.tensor([7]), torch.arange(2)) if plan.stochastic else None
    state = run_rows(PlanState(Program.of(plan), X, noise), halved, until=rows)
    twin = pickle.loads(pickle.dumps(state))
    assert twin.row == rows
    assert_same_bits(run_rows(twin, halved).x, run_rows(state, halved).x)
