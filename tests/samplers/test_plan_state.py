"""PlanState: the loop over rows, driven by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

import genie_samplers as gs
from genie_ext.testing import assert_same_bits
from genie_samplers import Plan, PlanState, Program
from genie_samplers.plan import Call, Combination, Conversion, HistoryEntry, Row
from genie_samplers.run import Start, run_rows

from .conftest import Place
from .fakes import SHAPE, VARIANTS, FakeModel, euler, every_variant, normals, plan_of, same_label, solver_plan
from .plan_states import IDS, begun, finished, network, noise_of, outputs_of, start_of

# --- the same samples as sample()


@every_variant
def test_rows_by_hand_give_the_bits_of_sample(plan: Plan, quick_place: Place) -> None:
    program = Program.of(plan, device=quick_place.device, backend=quick_place.backend)
    x = torch.empty((3, *SHAPE), device=program.device)
    state = PlanState(program, x, noise_of(IDS, device=quick_place.device), start=Start(0.0, plan.init.scale))
    while (call := state.call) is not None:
        state.advance(network(state.model_input) if call.calls else ())
    model = FakeModel(lambda x, t: network(x))
    expected = gs.sample(model, plan, shape=(3, *SHAPE), seed=7, sample_ids=IDS, **quick_place._asdict())
    assert_same_bits(state.x, expected)


@every_variant
def test_rows_out_of_place_give_the_same_bits(plan: Plan) -> None:
    assert_same_bits(finished(begun(plan, in_place=False)), finished(begun(plan)))


@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_a_bfloat16_network_is_fed_the_same_out_of_place(scale: float) -> None:
    plan = plan_of(euler(1.0, input_scale=scale), euler(0.5, input_scale=scale))
    program = Program.of(plan, model_dtype=torch.bfloat16)
    here, there = (PlanState(program, start_of(plan), in_place=in_place) for in_place in (True, False))
    here.advance(network(here.model_input))
    there.advance(network(there.model_input))
    assert here.model_input.dtype == there.model_input.dtype == torch.bfloat16
    assert_same_bits(here.model_input, there.model_input)


def test_what_a_row_asks_is_in_its_call() -> None:
    plan = gs.starting_at(solver_plan("edm_heun", s_churn=1.0), 1)
    state, asked = begun(plan), []
    while (call := state.call) is not None:
        asked.append((call.row, call.time, call.calls))
        state.advance(outputs_of(state) if call.calls else ())
    assert asked == [(number, row.time, row.calls) for number, row in enumerate(plan.rows)]
    assert 0 in [calls for _, _, calls in asked]


def test_a_row_may_be_given_all_outputs_of_the_plan() -> None:
    first, second = (Conversion(0.0, q) for q in ((1.0, 0.0), (0.0, 1.0)))
    rows = [Row(t, Combination(1.0, y=(1.0,)), converted=(c,)) for t, c in ((1.0, first), (0.5, second))]
    plan = plan_of(*rows, outputs=("epsilon", "k1"))
    one, all_of_them = begun(plan), begun(plan)
    one.advance(network(one.x))
    all_of_them.advance((network(all_of_them.x), torch.full_like(one.x, torch.nan)))
    assert_same_bits(one.x, all_of_them.x)


def test_the_history_is_that_of_the_plan_newest_first() -> None:
    plan, state, made = VARIANTS["deis_tab2"], begun(VARIANTS["deis_tab2"]), {}
    while state.call is not None:
        read = plan.rows[state.row].history
        assert len(state.history) == len(read)
        assert all(torch.equal(value, made[entry]) for value, entry in zip(state.history, read, strict=True))
        made[HistoryEntry(state.row)] = network(state.model_input)  # epsilon is what this plan keeps
        state.advance(made[HistoryEntry(state.row)])
    assert max(len(row.history) for row in plan.rows) == 2


def test_the_given_state_is_not_written_to() -> None:
    x = torch.ones(2, 3)
    state = PlanState(Program.of(plan_of(euler(1.0))), x)
    state.advance(torch.ones(2, 3))
    assert torch.equal(x, torch.ones(2, 3))


def test_every_row_writes_into_the_same_memory() -> None:
    state = begun(VARIANTS["deis_tab2"])
    here = {state.x.data_ptr()}
    while state.call is not None:
        state.advance(network(state.model_input))
        here.add(state.x.data_ptr())
    assert len(here) == 1


def test_predicted_x0_leaves_the_state_as_it_is() -> None:
    state = begun(VARIANTS["deis_tab1"])
    before, out = state.x.clone(), network(state.x)
    predicted = state.predicted_x0(out)
    schedule, t = VARIANTS["deis_tab1"].schedule, VARIANTS["deis_tab1"].times[0]
    assert_same_bits(predicted, (before - float(schedule.sigma(t)) * out) / float(schedule.alpha(t)))
    assert_same_bits(state.x, before)
    assert state.row == 0


def test_the_rows_run_until_one_is_reached() -> None:
    state, after = begun(solver_plan("ddim", 4)), []
    run_rows(state, lambda call, state: outputs_of(state), lambda call, outputs: after.append(call.row), until=3)
    assert after == [0, 1, 2]
    assert state.call is not None and state.call.row == 3


def test_labels_are_one_per_row() -> None:
    plan = plan_of(euler(1.0), euler(0.5))
    labels = gs.run.row_labels(gs.models.as_model(FakeModel(label=same_label)), plan, 3, torch.device("cpu"))
    assert np.stack([label.numpy() for label in labels]).tolist() == [[1.0] * 3, [0.5] * 3]


# --- external draws


@pytest.mark.parametrize("name", ["edm_heun-churn", "dpmpp_2m_sde", "ddim-eta"])
@pytest.mark.parametrize("in_place", [True, False])
def test_given_draws_do_what_drawn_ones_do(name: str, in_place: bool) -> None:
    plan = VARIANTS[name]
    state = PlanState(Program.of(plan), start_of(plan), in_place=in_place)
    while state.call is not None:
        draws = [normals(IDS, SHAPE, draw=d, stream=1, seed=7) for d in plan.layout[state.row].draws]
        state.advance(outputs_of(state) if state.call.calls else (), draws)
    assert_same_bits(state.x, finished(begun(plan)))


def test_the_loop_asks_for_the_draws_of_rows_that_draw() -> None:
    plan, asked = VARIANTS["dpmpp_2m_sde"], []

    def draw(call: Call) -> list[Tensor]:
        asked.append(call.row)
        return [normals(IDS, SHAPE, draw=d, stream=1, seed=7) for d in plan.rows[call.row].draws]

    state = PlanState(Program.of(plan), start_of(plan))
    run_rows(state, lambda call, state: outputs_of(state), draw=draw)
    assert_same_bits(state.x, finished(begun(plan)))
    assert asked == [number for number, row in enumerate(plan.rows) if row.draws]


def test_a_given_draw_may_be_of_any_strides() -> None:
    plan = plan_of(Row(1.0, Combination(draws=(1.0,)), draws=(0,), calls=0))
    state, draw = PlanState(Program.of(plan), torch.zeros(2, 3)), torch.arange(6.0).reshape(3, 2).T
    state.advance(draws=[draw])
    assert torch.equal(state.x, draw)


# --- rows without a network


@pytest.mark.parametrize("in_place", [True, False])
def test_rows_that_ask_no_network_take_no_outputs(in_place: bool) -> None:
    plan = plan_of(Row(1.0, Combination(2.0), calls=0), euler(0.5), Row(0.2, Combination(3.0), calls=0))
    state = PlanState(Program.of(plan), torch.ones(1, 2), in_place=in_place)
    assert state.call is not None and (state.call.calls, state.call.names) == (0, ())
    with pytest.raises(ValueError, match="returned 1 outputs in row 0; the plan reads 0"):
        state.advance(torch.ones(1, 2))
    state.advance()
    state.advance(torch.ones(1, 2))
    state.advance()
    assert state.x.tolist() == [[3.0 * (2.0 - 0.5)] * 2]
    assert state.call is None


# --- guidance


@pytest.mark.parametrize("in_place", [True, False])
def test_a_scale_per_sample_is_that_samples(in_place: bool) -> None:
    plan, scales = solver_plan("deis_tab1", 3), [1.0, 2.5, -1.0]

    def final(plan: Plan, x: Tensor) -> Tensor:
        state = PlanState(Program.of(plan), x, in_place=in_place)
        return run_rows(state, lambda call, state: (network(state.x), 0.25 * state.x)).x

    x = start_of(plan)
    alone = [final(plan.guided(scale), x[i : i + 1]) for i, scale in enumerate(scales)]
    assert_same_bits(final(plan.guided(scales), x), torch.cat(alone))


@pytest.mark.parametrize("until", [0, 2, 3])
def test_a_row_that_was_reached_already_ends_nothing_more(until: int) -> None:
    state = begun(solver_plan("ddim", 4))
    run_rows(state, lambda call, state: outputs_of(state), until=3)
    assert run_rows(state, lambda call, state: outputs_of(state), until=until).row == 3


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [(torch.float16, torch.float32), (torch.float32, torch.float32), (torch.float64, torch.float64)],
)
def test_predicted_x0_is_as_precise_as_the_outputs(dtype: torch.dtype, expected: torch.dtype) -> None:
    state = PlanState(Program.of(VARIANTS["dpmpp_2m"]), torch.ones(2, 3))
    assert state.predicted_x0(network(state.x).to(dtype)).dtype == expected


def test_after_the_last_row_nothing_is_read() -> None:
    state = begun(VARIANTS["deis_tab2"])
    finished(state)
    assert state.history == []
