"""A loop that owns the state: what it hands in, in whatever memory, is what a row reads; what it gets is its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import genie_samplers as gs
from genie_samplers.plan import Combination, Conversion, HistoryEntry, Init, Row, filtered
from genie_samplers.run import PlanState, Program, Stepper

SHAPE = (2, 3, 4)


@pytest.fixture(scope="module")
def plan() -> gs.Plan:
    return gs.make_plan("unipc2", gs.schedules.vp_linear(), nfe=5)


def noise(seed: int = 0) -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


def outputs() -> list[Tensor]:
    return [noise(10 + number) for number in range(5)]


def by_plan_state(plan: gs.Plan, x: Tensor, changed: Any = None) -> Tensor:
    """``changed``: of the state after two rows."""
    state = PlanState(Program.of(plan), x)
    for number, output in enumerate(outputs()):
        if number == 2 and changed is not None:
            state.replace(changed(state.x.clone()))
        state.advance(output)
    return state.x


def by_stepper(plan: gs.Plan, x: Tensor, changed: Any = None, **options: Any) -> Tensor:
    stepper, made = Stepper(Program.of(plan, **options), x), x
    for number, output in enumerate(outputs()):
        made = changed(made) if number == 2 and changed is not None else made
        made = stepper.step(made, (output,))
    return made


def written(x: Tensor) -> Tensor:
    return x.mul_(0.5)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_a_loop_of_its_own_state_has_the_bits_of_the_plan_state(plan: gs.Plan, backend: str) -> None:
    assert torch.equal(by_stepper(plan, noise(), backend=backend), by_plan_state(plan, noise()))


def sought(plan: gs.Plan, row: int) -> Stepper:
    stepper = Stepper(Program.of(plan, operators={name: lambda *given: None for name in plan.operators}), noise())
    stepper.seek(row)
    return stepper


def test_a_row_of_a_plan_without_memory_may_be_sought() -> None:
    assert sought(gs.make_plan("ddim", gs.schedules.vp_linear(), nfe=5), 3).row == 3


@pytest.mark.parametrize(
    ("made", "row"),
    [
        (lambda: gs.make_plan("deis_tab2", gs.schedules.vp_linear(), nfe=5), 2),
        (lambda: gs.make_plan("edm_heun", gs.schedules.edm(), nfe=25), 1),
        (lambda: gs.make_plan("edm_heun", gs.schedules.edm(), nfe=25), 99),
        (lambda: filtered(gs.make_plan("ddpm", gs.schedules.vp_linear(), nfe=5), "f"), 1),  # reads a filtered draw
    ],
    ids=["history", "second state", "beyond the end", "operator"],
)
def test_a_row_that_reads_what_is_left_is_not_sought(made: Callable[[], gs.Plan], row: int) -> None:
    with pytest.raises(ValueError, match=f"row={row}: of .* rows; choose one from which on none reads"):
        sought(made(), row)


def test_a_row_before_one_that_reads_further_back_is_not_sought() -> None:
    """The second row reads the first's output; the row between them reads nothing."""
    epsilon = Conversion(0.0, (1.0,))
    rows = (
        Row(1.0, Combination(x=0.9, y=(0.1,)), converted=(epsilon,)),
        Row(0.5, Combination(x=0.9, y=(0.1,)), converted=(epsilon,)),
        Row(0.2, Combination(x=0.9, y=(0.1,), history=(0.2,)), converted=(epsilon,), history=(HistoryEntry(0),)),
    )
    with pytest.raises(ValueError, match=r"row=1: of 3 rows; choose one from which on none reads .*: 0$"):
        sought(gs.Plan(Init(1.0), ("epsilon",), "epsilon", rows), 1)


def test_a_row_whose_gain_or_operator_reads_what_is_left_is_not_sought() -> None:
    plan = gs.make_plan("predictor_corrector", gs.schedules.ve(), nfe=4)
    numbers = [number for number, row in enumerate(plan.rows) if row.gains]
    with pytest.raises(ValueError, match=f"row={numbers[0]}: of"):
        sought(plan, numbers[0])


CHANGES = {
    "another tensor": lambda x: x * 0.5,
    "written to": written,
    "another order in memory": lambda x: (x * 0.5).transpose(1, 2).contiguous().transpose(1, 2),
    "the negative bit": lambda x: torch.complex(x, -0.5 * x).conj().imag,
    "at an odd address": lambda x: torch.cat([torch.zeros(1), (0.5 * x).flatten()])[1:].reshape(SHAPE),
    "of another dtype": lambda x: (x * 0.5).double(),
    "another storage": lambda x: x.set_(x * 0.5),
    "transposed where it lies": lambda x: x.copy_((x * 0.5).mT.reshape(SHAPE)).as_strided_(SHAPE, (12, 1, 3)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_what_is_handed_in_is_the_state(plan: gs.Plan, change: Any, backend: str) -> None:
    expected = by_plan_state(plan, noise(), lambda x: x * 0.5)
    assert torch.equal(by_stepper(plan, noise(), change, backend=backend), expected)


def test_what_is_handed_in_and_given_back_is_the_callers(plan: gs.Plan) -> None:
    x = noise()
    stepper = Stepper(Program.of(plan), x)
    first = stepper.step(x, (outputs()[0],))
    kept = first.clone()
    second = stepper.step(first, (outputs()[1],))
    assert torch.equal(x, noise())
    assert torch.equal(first, kept)
    assert len({tensor.data_ptr() for tensor in (x, first, second)}) == 3


def test_an_output_may_lie_in_the_memory_of_the_state(plan: gs.Plan) -> None:
    x = noise()
    assert torch.equal(Stepper(Program.of(plan), x).step(x, (x,)), Stepper(Program.of(plan), x).step(x, (x.clone(),)))


def test_of_half_precision_the_state_goes_on_unrounded_where_it_is_handed_back_as_it_was(plan: gs.Plan) -> None:
    program = Program.of(plan, model_dtype=torch.bfloat16)
    stepper, made = Stepper(program, noise().bfloat16()), noise().bfloat16()
    for output in outputs():
        made = stepper.step(made, (output,))
    assert torch.equal(made, by_plan_state(plan, noise().bfloat16().float()).bfloat16())


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_of_half_precision_what_was_written_to_is_read_again(plan: gs.Plan, mode: Any) -> None:
    program = Program.of(plan, model_dtype=torch.bfloat16)
    made = []
    with mode():
        for changed in (written, lambda x: x * 0.5):
            stepper = Stepper(program, noise())
            after = stepper.step(stepper.step(noise(), (outputs()[0],)), (outputs()[1],))
            made.append(stepper.step(changed(after), (outputs()[2],)))
    assert torch.equal(*made)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_after_rows_with_gradients_what_was_written_to_is_read_in_inference_mode(
    plan: gs.Plan, dtype: torch.dtype
) -> None:
    """Whose tensors do not say that they were written to."""
    made = []
    for changed in (written, lambda x: x * 0.5):
        stepper = Stepper(Program.of(plan, model_dtype=dtype), noise())
        after = stepper.step(noise().requires_grad_(), (outputs()[0],)).detach()
        with torch.inference_mode():
            after = stepper.step(after, (outputs()[1],))
            made.append(stepper.step(changed(after), (outputs()[2],)))
    assert torch.equal(*made)


def test_it_begins_again_in_the_same_memory(plan: gs.Plan) -> None:
    stepper = Stepper(Program.of(plan), noise(1))
    stepper.step(noise(1), (noise(2),))
    stepper.restart(noise())
    made = noise()
    for output in outputs():
        made = stepper.step(made, (output,))
    assert torch.equal(made, by_plan_state(plan, noise()))


BAD = {
    "shape": (lambda: (noise(), (noise()[:, :2],)), r"output 'epsilon' in row 0 has shape \(2, 2, 4\)"),
    "number": (lambda: (noise(), (noise(), noise())), "returned 2 outputs in row 0"),
    "dtype": (lambda: (noise(), (noise().int(),)), "output 'epsilon' in row 0 has dtype torch.int32"),
    "state": (lambda: (noise()[:, :2], (noise(),)), r"x: shape \(2, 2, 4\)"),
}


@pytest.mark.parametrize(("given", "message"), BAD.values(), ids=BAD)
def test_what_does_not_fit_is_refused_by_name_and_the_state_stays(plan: gs.Plan, given: Any, message: str) -> None:
    stepper = Stepper(Program.of(plan), noise())
    with pytest.raises((ValueError, TypeError), match=message):
        stepper.step(*given())
    assert stepper.row == 0
    stepper.step(noise(), (noise(),))
    assert stepper.row == 1


def test_no_row_is_left_after_the_last(plan: gs.Plan) -> None:
    stepper, made = Stepper(Program.of(plan), noise()), noise()
    for output in outputs():
        made = stepper.step(made, (output,))
    with pytest.raises(ValueError, match="all 5 rows have run"):
        stepper.step(made, (noise(),))


def test_gradients_are_followed_from_where_they_are_asked_for(plan: gs.Plan) -> None:
    """The rows before are not: as if the state there were the first."""
    stepper, made = Stepper(Program.of(plan), noise()), noise()
    for output in outputs()[:3]:
        made = stepper.step(made, (output,))
    leaf = made.requires_grad_()
    for output in outputs()[3:]:
        made = stepper.step(made, (output,))
    assert torch.equal(made.detach(), by_plan_state(plan, noise()))
    made.sum().backward()
    assert leaf.grad is not None
    assert leaf.grad.unique().numel() == 1
