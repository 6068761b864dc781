"""Runs that fail leave nothing behind for the next, and little is kept."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor

import genie_samplers as gs
from genie_ext.testing import assert_same_bits
from genie_samplers.run.workspace import KEPT, MOST_BYTES, MOST_WORKSPACES

from .fakes import SHAPE, solver_plan
from .workspaces import PLAN, draw, halve

pytestmark = pytest.mark.usefixtures("nothing_kept")


# --- runs that fail, networks that leave marks


class Broken(Exception):
    pass


def test_after_a_network_raised_the_next_run_is_whole() -> None:
    expected = draw(seed=1)

    def network(x: Tensor, t: Tensor) -> Tensor:
        if len(calls) == 2:
            raise Broken
        calls.append(t)
        return torch.full_like(x, 1e30)

    calls: list[Tensor] = []
    with pytest.raises(Broken):
        draw(model=network)
    assert KEPT.held == []
    assert_same_bits(draw(seed=1), expected)
    assert_same_bits(draw(seed=1), expected)


def test_after_a_state_was_not_finite_the_next_run_is_whole() -> None:
    expected = draw(seed=1)
    with pytest.raises(gs.NonFiniteError):
        draw(model=lambda x, t: torch.full_like(x, torch.nan))
    unchecked = draw(model=lambda x, t: torch.full_like(x, torch.nan), check_finite=False)
    assert bool(unchecked.isnan().all())
    assert_same_bits(draw(seed=1), expected)


def test_a_label_that_a_network_writes_to_later_is_made_anew() -> None:
    labels: list[Tensor] = []

    def network(x: Tensor, t: Tensor) -> Tensor:
        labels.append(t)
        return t.reshape(-1, 1, 1, 1) * x

    expected = draw(model=network, seed=1).clone()
    labels[1].mul_(2.0)
    assert_same_bits(draw(model=network, seed=1), expected)


@pytest.mark.parametrize("which", [0, 1], ids=["x", "t"])
def test_gradients_that_a_network_recorded_are_gone_in_the_next_run(which: int) -> None:
    found: list[Tensor | None] = []

    def network(x: Tensor, t: Tensor) -> Tensor:
        leaf = (x, t)[which]
        if not found or len(found) % len(PLAN.rows) == 0:
            found.append(leaf.grad)
        else:
            found.append(None)
        with torch.enable_grad():
            leaf.requires_grad_()
            leaf.square().sum().backward()
        leaf.requires_grad_(False)
        return 0.5 * x.detach()

    first = draw(model=network, seed=1)
    assert_same_bits(draw(model=network, seed=1), first)
    assert found == [None] * (2 * len(PLAN.rows))
    assert not first.requires_grad


def test_a_copy_of_an_output_is_reported_in_every_run() -> None:
    def transposed(x: Tensor, t: Tensor) -> Tensor:
        return (0.5 * x).transpose(1, 2).contiguous().transpose(1, 2)

    message = "output 'epsilon' is not row-major within a sample"
    with pytest.warns(UserWarning, match=message):
        draw(model=transposed)
    with pytest.warns(UserWarning, match=message):
        draw(model=transposed)


# --- how much is kept


def test_few_are_kept_those_used_last() -> None:
    _ = [draw(count=count) for count in range(1, MOST_WORKSPACES + 3)]
    assert [len(workspace.state.x) for workspace in KEPT.held] == [3, 4, 5, 6]
    draw(count=3)
    assert [len(workspace.state.x) for workspace in KEPT.held] == [4, 5, 6, 3]


def test_what_is_kept_is_small() -> None:
    plan = solver_plan("ddim", 1)
    third = MOST_BYTES // 4 // 3  # elements of float32
    _ = [gs.sample(halve, plan, shape=(1, third + i), backend="cpu") for i in range(3)]
    assert len(KEPT.held) == 2
    assert sum(workspace.nbytes for workspace in KEPT.held) <= MOST_BYTES


def test_a_large_state_is_not_kept_and_its_result_not_copied() -> None:
    plan, inputs = solver_plan("ddim", 1), []

    def network(x: Tensor, t: Tensor) -> Tensor:
        inputs.append(x.data_ptr())
        return 0.5 * x

    result = gs.sample(network, plan, shape=(1, MOST_BYTES // 4), backend="cpu")
    assert KEPT.held == []
    assert result.data_ptr() == inputs[0]


def test_labels_and_tables_count() -> None:
    plan = solver_plan("ddim", 1).guided([1.0] * 50_000)
    gs.sample(lambda x, t: (0.5 * x, 0.5 * x), plan, shape=(50_000, 1), backend="cpu")
    (kept,) = KEPT.held
    columns = kept.state.program.table.shape[-1]
    assert kept.nbytes >= 50_000 * 4 * (columns + 1 + 1 + 2)  # table, label, state, two flags


def test_a_thread_that_ends_keeps_nothing() -> None:
    def state_of_this_thread() -> weakref.ref[Any]:
        draw()
        return weakref.ref(KEPT.held[0].state)

    with ThreadPoolExecutor(1) as pool:
        state = pool.submit(state_of_this_thread).result()
    gc.collect()
    assert state() is None


def test_neither_network_nor_conditioning_is_kept() -> None:
    class Network:
        def __call__(self, x: Tensor, t: Tensor, c: Tensor) -> Tensor:
            return 0.5 * x

    network, condition = Network(), torch.zeros(3, 1)
    alive = weakref.ref(network), weakref.ref(condition)
    draw(model=network, cond={"c": condition}, on_row=lambda event: None)
    assert len(KEPT.held) == 1
    del network, condition
    gc.collect()
    assert alive[0]() is None and alive[1]() is None


# --- plans and programs stay what they are


def test_a_plan_that_ran_is_copied_and_stored_as_before() -> None:
    plan = solver_plan("deis_tab2", 4)
    x = draw(plan, seed=1)
    copies = (copy.copy(plan), copy.deepcopy(plan), pickle.loads(pickle.dumps(plan)))
    assert all(twin == plan and torch.equal(draw(twin, seed=1), x) for twin in copies)
    program = copy.deepcopy(gs.Program.of(plan))
    state = gs.PlanState(program, torch.ones(3, *SHAPE))
    gs.run.run_rows(state, lambda call, at: 0.5 * at.model_input)
    assert_same_bits(state.x, draw(plan, state=torch.ones(3, *SHAPE)))
