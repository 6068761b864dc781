"""Operators between the rows of a plan: what they are given, when, and that nothing else changes."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import genie_ext
import genie_samplers as gs
from genie_ext.testing import assert_same_bits
from genie_samplers import Plan, PlanState, Program
from genie_samplers.plan import Apply, Combination, HistoryEntry, Init, Row
from genie_samplers.run import Stepper, run_rows

from .fakes import FakeModel, same_label
from .operator_plans import (
    EPSILON,
    FILTERED,
    ON_SCORE,
    ON_START,
    ON_STATE,
    PLAIN,
    SHAPE,
    begun,
    drawn,
    every_plan,
    finished,
    identity,
    mirrored,
    noisy,
    plan_of,
    run,
    score_filtered,
)
from .plan_states import IDS, network, noise_of

# --- what it does


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_the_identity_on_draws_gives_the_bits_of_a_plan_without(backend: str, dtype: torch.dtype) -> None:
    options = {"backend": backend, "dtype": dtype}
    assert_same_bits(run(FILTERED, identity, **options), run(PLAIN, **options))


def test_a_loop_that_owns_the_state_is_given_what_the_operators_make() -> None:
    """A stepper over a plan with operators: the same steps, one tensor in and one out."""
    program = Program.of(ON_SCORE, operators={"f": mirrored})
    x = drawn(0, stream=0)
    state, stepper = PlanState(program, x, noise_of(IDS)), Stepper(program, x)
    while stepper.row < len(ON_SCORE.rows):
        outputs = [network(x)] if ON_SCORE.rows[stepper.row].calls else []
        draws = [drawn(draw) for draw in ON_SCORE.rows[stepper.row].draws]
        x = stepper.step(x, outputs, draws)
    assert_same_bits(x, finished(state))


def test_the_identity_on_the_score_gives_the_bits_of_a_plan_without() -> None:
    plain = plan_of(Row(1.0, Combination(x=0.9, y=(-0.5,)), converted=(EPSILON,)), noisy(0.5, 0))
    assert_same_bits(run(ON_SCORE, identity), run(plain))


def test_the_identity_on_the_start_gives_the_bits_of_a_plan_without() -> None:
    assert_same_bits(run(ON_START, identity), run(plan_of(noisy(1.0, 0), init=Init(2.0))))


def test_an_operator_is_given_the_draw_and_its_index() -> None:
    seen: list[tuple[Tensor, int]] = []

    def watched(value: Tensor, index: int, out: Tensor) -> None:
        seen.append((value.clone(), index))
        identity(value, index, out)

    run(FILTERED, watched)
    assert [index for _, index in seen] == [0, 2]
    assert_same_bits(seen[0][0], drawn(0, ids=[0, 1, 2]))
    assert_same_bits(seen[1][0], drawn(1, ids=[0, 1, 2]))


def test_filtered_draws_are_external_draws_that_were_filtered_before() -> None:
    def prepared(number: int, index: int) -> Tensor:
        z = drawn(number)
        mirrored(z.clone(), index, z)
        return z

    given = iter([[prepared(0, 0)], [prepared(1, 2)]])
    plain = finished(begun(PLAIN, noise=False), draw=lambda call: next(given))
    assert_same_bits(finished(begun(FILTERED)), plain)


def test_an_operator_on_the_state_reads_it_as_it_is() -> None:
    state = begun(ON_STATE)
    x = state.x.clone()
    state.advance()
    assert_same_bits(state.x, x)
    assert_same_bits(state.value(HistoryEntry(0)), 0.5 * x.flip(-1))
    assert_same_bits(state.history[0], 0.5 * x.flip(-1))


@every_plan
def test_out_of_place_gives_the_same_bits(plan: Plan) -> None:
    assert_same_bits(finished(begun(plan, in_place=False)), finished(begun(plan)))


def test_gradients_go_through_an_operator() -> None:
    def gradient(plan: Plan) -> Tensor:
        x = torch.ones(SHAPE, dtype=torch.float64, requires_grad=True)
        program = Program.of(plan, dtype=torch.float64, operators={"f": mirrored})
        finished(PlanState(program, x, noise_of(IDS), in_place=False)).sum().backward()
        assert x.grad is not None
        return x.grad

    x = torch.ones(SHAPE, dtype=torch.float64, requires_grad=True)
    (0.9 * 0.5 * x.flip(-1) - 0.5 * network(x)).sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(gradient(ON_STATE), x.grad, rtol=1e-15, atol=0.0)


@every_plan
@pytest.mark.parametrize("batch_size", [1, 2])
def test_samples_do_not_depend_on_the_chunks(plan: Plan, batch_size: int) -> None:
    assert_same_bits(run(plan, batch_size=batch_size), run(plan))


@every_plan
def test_a_second_run_gives_the_same_bits_and_another_operator_others(plan: Plan) -> None:
    first = run(plan)
    assert_same_bits(run(plan), first)
    assert not torch.equal(run(plan, identity), first)
    assert_same_bits(run(plan), first)


@every_plan
def test_a_table_per_sample_runs_with_operators(plan: Plan) -> None:
    program = Program.of(plan, operators={"f": mirrored})
    numbers = program.with_table(program.table[:, None].repeat(1, len(IDS), 1))
    x = drawn(0, stream=0)
    assert_same_bits(finished(PlanState(numbers, x, noise_of(IDS))), finished(begun(plan)))


def test_guided_plans_filter_what_guidance_made() -> None:
    def pair(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        return network(x), 0.25 * x

    plain = plan_of(Row(1.0, Combination(x=0.9, y=(-0.5,)), converted=(EPSILON,)))
    plans = (plan_of(*score_filtered(1.0, 0)).guided(2.0), plain.guided(2.0))
    model = FakeModel(pair, label=same_label)
    first, second = (
        gs.sample(model, plan, shape=SHAPE, operators={name: identity for name in plan.operators}) for plan in plans
    )
    assert_same_bits(first, second)


# --- copies


def copied_by_pickle(state: PlanState) -> PlanState:
    return pickle.loads(pickle.dumps(state))


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, copied_by_pickle], ids=["copy", "deepcopy", "pickle"])
@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("until", [1, 2])
@every_plan
@pytest.mark.each_value
def test_a_copy_midway_goes_on_as_the_state(
    plan: Plan, until: int, in_place: bool, copied: Callable[[PlanState], PlanState]
) -> None:
    state = begun(plan, in_place=in_place)
    run_rows(state, lambda call, state: network(state.model_input), until=until)
    twin = copied(state)
    assert_same_bits(finished(state), finished(begun(plan)))
    assert_same_bits(finished(twin), finished(begun(plan)))


@every_plan
def test_a_state_is_started_again(plan: Plan) -> None:
    state = begun(plan)
    first = finished(state).clone()
    state.restart(drawn(0, stream=0))
    assert_same_bits(finished(state), first)


def test_a_state_begins_after_an_operator_with_its_value() -> None:
    state = begun(FILTERED)
    run_rows(state, lambda call, state: network(state.model_input), until=3)
    entry = HistoryEntry(2)
    program = Program.of(FILTERED, operators={"f": mirrored})
    rest = PlanState(program, state.x, noise_of(IDS), first_row=3, values={entry: state.value(entry)})
    assert_same_bits(finished(rest), finished(state))


# --- the start


def test_a_uniform_start_lies_in_the_unit_interval_times_its_scale() -> None:
    plan = plan_of(Row(1.0, Combination(x=1.0, y=(0.0,)), converted=(EPSILON,)), init=Init(3.0, "uniform"))
    x = run(plan, shape=(64, 1, 32, 32))
    u = torch.empty(x.shape)
    genie_ext.uniform_fill(u, noise=noise_of(list(range(64)))._replace(stream=0))
    assert_same_bits(x, 3.0 * u)
    assert 0.0 <= u.min() < u.max() < 1.0
    # 65,536 numbers: four deviations of a mean of 1/2 and variance of 1/12
    assert abs(u.mean().item() - 0.5) < 4.0 * (1.0 / 12.0 / u.numel()) ** 0.5


def test_a_uniform_start_goes_through_an_operator() -> None:
    row = Row(1.0, Combination(x=1.0, y=(0.0,)), converted=(EPSILON,))
    plain, through = (run(plan_of(row, init=Init(2.0, "uniform", name))) for name in (None, "f"))
    assert_same_bits(through, 0.5 * plain.flip(-1))


def test_uniform_numbers_depend_on_seed_sample_draw_and_stream_alone() -> None:
    all_at_once, one = torch.empty(3, 2, 7), torch.empty(1, 2, 7)
    genie_ext.uniform_fill(all_at_once, noise=noise_of(IDS), draw=5)
    genie_ext.uniform_fill(one, noise=noise_of(IDS[2:]), draw=5)
    assert_same_bits(one[0], all_at_once[2])
    assert not torch.equal(genie_ext.uniform_fill(one.clone(), noise=noise_of(IDS[2:]), draw=6), one)


# --- the network's input


def test_the_input_of_the_network_is_scaled_as_without_an_operator() -> None:
    plain = plan_of(
        dataclasses.replace(noisy(1.0, 0), input_scale=0.7), dataclasses.replace(noisy(0.5, 1), input_scale=0.3)
    )
    rows = tuple(
        row if isinstance(row, Apply) else dataclasses.replace(row, input_scale=0.7 if row.time == 1.0 else 0.3)
        for row in FILTERED.rows
    )
    models = FakeModel(label=same_label), FakeModel(label=same_label)
    gs.sample(models[0], plain, shape=SHAPE)
    gs.sample(models[1], plan_of(*rows), shape=SHAPE, operators={"f": identity})
    assert len(models[0].calls) == len(models[1].calls) == 2
    assert_same_bits(models[0].calls[0].x, models[1].calls[0].x)
    assert_same_bits(models[0].calls[1].x, models[1].calls[1].x)
