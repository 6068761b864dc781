"""PlanState: the loop over rows, driven by hand."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import genie_ext
import genie_samplers as gs
from genie_ext.testing import assert_same_bits
from genie_samplers import Plan, PlanState, Program
from genie_samplers.plan import Combination, Conversion, HistoryEntry, Row
from genie_samplers.run import Start, run_rows

from .conftest import Place
from .fakes import SCHEDULE, SHAPE, VARIANTS, FakeModel, euler, every_variant, normals, plan_of, same_label, solver_plan

IDS = [4, 0, 9]


def network(x: Tensor) -> Tensor:
    """Elementwise and of exact products, so that its bits depend on the state alone."""
    return x * x.abs().clamp(max=1.0) * 0.5


def noise_of(ids: list[int], seed: int = 7, device: str = "cpu") -> genie_ext.Noise:
    return genie_ext.Noise(torch.tensor([seed], device=device), torch.tensor(ids, device=device), 1)


def outputs_of(state: PlanState) -> Any:
    """As many as the row reads; the further ones are multiples of the first."""
    call = state.call
    assert call is not None
    return tuple((1.0 + 0.5 * i) * network(state.model_input) for i in range(len(call.names)))


def finished(state: PlanState) -> Tensor:
    return run_rows(state, lambda call, state: outputs_of(state)).x


def start_of(plan: Plan, dtype: torch.dtype = torch.float32) -> Tensor:
    return plan.init.scale * normals(IDS, SHAPE, draw=0, stream=0, seed=7).to(dtype)


def begun(plan: Plan, **options: Any) -> PlanState:
    x = start_of(plan)
    return PlanState(Program.of(plan), x, noise_of(IDS) if plan.stochastic else None, **options)


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
    plan = gs.starting_at(gs.make_plan("edm_heun", SCHEDULE, 5, options={"s_churn": 1.0}), 1)
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


# --- gradients


def differentiable(plan: Plan, x: Tensor, table: Tensor, gain: Tensor, z: list[Tensor]) -> Tensor:
    """The sum of the last state, of all that the rows are given."""
    state, draws = PlanState(Program.of(plan, dtype=torch.float64).with_table(table), x, in_place=False), iter(z)
    while (call := state.call) is not None:
        outputs = tuple((gain + 0.1 * i) * torch.tanh(state.model_input) for i in range(len(call.names)))
        state.advance(outputs, [next(draws) for _ in plan.layout[call.row].draws])
    return state.x.sum()


DIFFERENTIATED = ("deis_tab2", "edm_heun-churn", "dpmpp_2m_sde", "unipc3")


@pytest.mark.parametrize(
    ("name", "of"),
    [(name, of) for name in DIFFERENTIATED for of in ("x", "table", "outputs")]
    + [(name, "draws") for name in DIFFERENTIATED if VARIANTS[name].stochastic],
)
def test_gradients_out_of_place_are_those_of_finite_differences(name: str, of: str) -> None:
    plan = VARIANTS[name]
    count = sum(len(row.draws) for row in plan.rows)
    given = {
        "x": start_of(plan, torch.float64) / plan.init.scale,
        "table": Program.of(plan, dtype=torch.float64).table.clone(),
        "outputs": torch.tensor(0.3, dtype=torch.float64),
        "draws": [normals(IDS, SHAPE, draw=d, stream=1).double() for d in range(count)],
    }
    leaf = given[of][0] if of == "draws" else given[of]
    leaf.requires_grad_()
    differentiable(plan, given["x"], given["table"], given["outputs"], given["draws"]).backward()
    assert leaf.grad is not None
    direction = torch.where(leaf.isfinite() & (leaf != 0), normals([1], leaf.shape, draw=0, stream=0)[0].double(), 0.0)
    slope = float((leaf.grad.nan_to_num() * direction).sum())
    step, ends = 1e-5, []
    with torch.no_grad():
        leaf += step * direction
        ends.append(differentiable(plan, given["x"], given["table"], given["outputs"], given["draws"]))
        leaf -= 2 * step * direction
        ends.append(differentiable(plan, given["x"], given["table"], given["outputs"], given["draws"]))
    # a central difference errs by step^2 / 6 times the third derivative, some powers of ten above the slope
    assert slope == pytest.approx(float(ends[0] - ends[1]) / (2 * step), rel=1e-4)
    assert slope != 0.0


def test_a_replacement_passes_its_gradient_on() -> None:
    plan = plan_of(euler(1.0), euler(0.5, input_scale=2.0))
    state = PlanState(Program.of(plan, dtype=torch.float64), start_of(plan, torch.float64), in_place=False)
    state.advance(network(state.x))
    gain = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    kept = state.x.clone()
    state.replace(gain * state.x)  # the same numbers
    state.advance(state.model_input)
    state.x.sum().backward()
    assert gain.grad is not None
    assert float(gain.grad) == pytest.approx(float((kept - 0.5 * 2.0 * kept).sum()), rel=1e-12)


@pytest.mark.parametrize("of", ["x", "table", "outputs", "draws", "replacement"])
def test_rows_in_place_refuse_what_they_would_not_differentiate(of: str) -> None:
    plan = plan_of(Row(1.0, Combination(1.0, y=(1.0,), draws=(1.0,)), converted=(Conversion(0.0, (1.0,)),), draws=(0,)))
    program, given = Program.of(plan), {name: torch.ones(2, 3) for name in ("x", "outputs", "draws", "replacement")}
    given["table"] = program.table.clone()
    given[of].requires_grad_()
    with pytest.raises(ValueError, match=r"require grad .*; make the PlanState with in_place=False"):
        state = PlanState(program.with_table(given["table"]), given["x"])
        state.replace(given["replacement"])
        state.advance(given["outputs"], [given["draws"]])
    with torch.no_grad():
        PlanState(program.with_table(given["table"]), given["x"]).advance(given["outputs"], [given["draws"]])


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


def test_a_given_draw_may_be_of_any_strides() -> None:
    plan = plan_of(Row(1.0, Combination(draws=(1.0,)), draws=(0,), calls=0))
    state, draw = PlanState(Program.of(plan), torch.zeros(2, 3)), torch.arange(6.0).reshape(3, 2).T
    state.advance(draws=[draw])
    assert torch.equal(state.x, draw)


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


# --- errors leave the state as it was


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


def test_the_rows_run_until_one_is_reached() -> None:
    state, after = begun(solver_plan("ddim", 4)), []
    run_rows(state, lambda call, state: outputs_of(state), lambda call, outputs: after.append(call.row), until=3)
    assert after == [0, 1, 2]
    assert state.call is not None and state.call.row == 3


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
    state = PlanState(Program.of(VARIANTS["dpmpp_2m"]), X)
    assert state.predicted_x0(network(X).to(dtype)).dtype == expected


def test_after_the_last_row_nothing_is_read() -> None:
    state = begun(VARIANTS["deis_tab2"])
    finished(state)
    assert state.history == []


def test_labels_are_one_per_row() -> None:
    plan = plan_of(euler(1.0), euler(0.5))
    labels = gs.run.row_labels(gs.models.as_model(FakeModel(label=same_label)), plan, 3, torch.device("cpu"))
    assert np.stack([label.numpy() for label in labels]).tolist() == [[1.0] * 3, [0.5] * 3]
