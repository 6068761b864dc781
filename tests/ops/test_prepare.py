"""A prepared call: the bits of fused_step, whatever comes through its slots, and nothing wrong gets in."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, cast

import pytest
import torch

from genie_ext import SLOT, FusedStepCall, Noise, NormalFillCall, fused_step, normal_fill, prepare
from genie_ext.testing import StepCase, assert_same_bits, poisoned_empty

from .prepared_calls import BF16, CASES, F32, F64, FULL, SMALL, assert_all_same, call_of, expected_of, slots_of


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_prepared_step_has_the_bits_of_fused_step(any_backend, checks, case):
    call, written = call_of(case)
    prepared = prepare("fused_step", call, backend=any_backend)
    prepared(**slots_of(case))
    assert prepared.backend == any_backend
    assert_all_same(written, expected_of(case))


def test_a_prepared_step_runs_again_with_other_tensors(any_backend, checks):
    call, written = call_of(FULL)
    prepared = prepare("fused_step", call, backend=any_backend)
    slots = slots_of(FULL)
    others: dict[str, Any] = {name: [torch.zeros_like(t) for t in tensors] for name, tensors in slots.items()}
    prepared(**others)
    prepared(**slots)
    assert_all_same(written, expected_of(FULL))


def test_a_slot_takes_other_strides_and_dtypes_from_run_to_run(any_backend, checks):
    case = StepCase()
    call, written = call_of(case)
    prepared = prepare("fused_step", call, backend=any_backend)
    output = case.inputs()["outputs"][0]
    both = torch.empty(2 * case.batch, case.length)
    both[::2] = output
    for given in (output, both[::2], output.to(F64), output.to(BF16), output):
        prepared([given])
        assert_all_same(written, expected_of(case, outputs=[given.contiguous()]))


def test_x_is_read_in_place_of_the_calls_state(any_backend, checks):
    x = torch.arange(FULL.batch * FULL.length, dtype=F32).reshape(FULL.batch, FULL.length)
    call, written = call_of(FULL)
    prepared = prepare("fused_step", call, backend=any_backend)
    prepared(**slots_of(FULL), x=x)
    assert_all_same(written, expected_of(FULL, x=x))
    prepared(**slots_of(FULL))
    assert_all_same(written, expected_of(FULL))


def test_x_is_stepped_into_the_calls_own_state(any_backend, checks):
    """As a sampler does with the tensor of its caller, which stays as it was."""
    state, x = torch.zeros(2, 3), torch.ones(2, 3)
    row = torch.tensor([0.5, 1.0])
    call = FusedStepCall(state, [], [], row, 0, None, [], None, state, None, [], None, None)
    prepare("fused_step", call, backend=any_backend)(x=x)
    assert_same_bits(state, torch.full((2, 3), 0.5))
    assert_same_bits(x, torch.ones(2, 3))


def test_a_prepared_fill_has_the_bits_of_normal_fill(any_backend, checks):
    noise = FULL.inputs()["noise"]
    out = poisoned_empty(3, 50)
    prepare("normal_fill", NormalFillCall(out, noise, 5), backend=any_backend)()
    assert_same_bits(out, normal_fill(torch.empty(3, 50), noise=noise, draw=5, backend="reference"))


def test_tensors_that_the_caller_forgets_are_kept(any_backend, checks):
    call, written = call_of(FULL)
    prepared = prepare("fused_step", call, backend=any_backend)
    del call
    gc.collect()
    [torch.full((FULL.batch, FULL.length), float("nan")) for _ in range(50)]  # takes memory that was freed
    prepared(**slots_of(FULL))
    assert_all_same(written, expected_of(FULL))


def test_a_call_may_be_changed_once_it_is_prepared(any_backend, checks):
    call, written = call_of(FULL)
    prepared = prepare("fused_step", call, backend=any_backend)
    other, _ = call_of(FULL)
    call.x, call.aux, call.row, call.out = other.out, other.out, other.row + 1.0, other.out
    cast(list, call.history)[:] = [other.out] * 3
    cast(list, call.stored).clear()
    prepared(**slots_of(FULL))
    assert_all_same(written, expected_of(FULL))


def test_tensors_that_a_changed_call_forgets_are_kept(any_backend, checks):
    row = torch.tensor([0.0, 1.0, 1.0])
    call = FusedStepCall(
        x=torch.ones(2, 1000), outputs=(), history=[torch.ones(2, 1000)], row=row, converted=0, aux=None, draws=(),
        noise=None, out=torch.empty(2, 1000), aux_out=None, stored=(), x_in=None, nonfinite=None,
    )  # fmt: skip
    out = call.out
    prepared = prepare("fused_step", call, backend=any_backend)
    call.x = out
    cast(list, call.history).clear()
    gc.collect()
    [torch.full((2, 1000), float("nan")) for _ in range(50)]  # takes memory that was freed
    prepared()
    assert_same_bits(out, torch.ones(2, 1000))


def test_a_fill_may_be_changed_once_it_is_prepared(any_backend, checks):
    noise, out = Noise(torch.tensor([9]), torch.arange(3)), poisoned_empty(3, 50)
    call = NormalFillCall(out, noise, 5)
    prepared = prepare("normal_fill", call, backend=any_backend)
    call.out, call.draw = torch.empty(3, 50), 6
    prepared()
    assert_same_bits(out, normal_fill(torch.empty(3, 50), noise=noise, draw=5, backend="reference"))


@pytest.mark.parametrize("target", ["out", "aux_out", "x_in", "stored", "nonfinite"])
@pytest.mark.parametrize("source", ["x", "aux", "history", "row", "noise"])
def test_an_overlap_is_refused_when_the_call_is_prepared(any_backend, source, target):
    memory = torch.zeros(64)
    low, high = memory[:12].view(2, 6), memory[2:14].view(2, 6)
    case = replace(SMALL, aux=True, aux_out=True)
    columns = len(case.columns())
    overlapping = memory[2 : 2 + columns] if target != "nonfinite" else memory[:columns]
    sources = {
        "x": {"x": high},
        "aux": {"aux": high},
        "history": {"history": [high]},
        "row": {"row": overlapping},
        "noise": {"noise": Noise(torch.zeros(1, dtype=torch.int64), memory[:4].view(torch.int64))},
    }
    targets = {"stored": {"stored": [low]}, "nonfinite": {"nonfinite": memory[2:4].view(torch.int32)}}
    call = replace(call_of(case)[0], **sources[source], **targets.get(target, {target: low}))
    with pytest.raises(ValueError, match="shares memory with"):
        prepare("fused_step", call, backend=any_backend)


def test_interleaved_halves_of_one_batch_are_no_overlap(any_backend, checks):
    both = torch.zeros(4, 6)
    call = replace(call_of(SMALL)[0], x=both[::2], out=both[1::2])
    prepare("fused_step", call, backend=any_backend)(**slots_of(SMALL))


@pytest.mark.parametrize("name", ["outputs", "draws", "x"])
def test_an_overlap_of_what_is_in_a_slot_is_found_where_every_run_is_checked(any_backend, monkeypatch, name):
    monkeypatch.setenv("GENIE_EXT_CHECK", "1")
    case = replace(SMALL, draws=(F32,))
    call, written = call_of(case)
    prepared = prepare("fused_step", call, backend=any_backend)
    shared = written["out"]
    slots = slots_of(case)
    slots = {**slots, name: shared.flatten()[1:].as_strided((2, 6), (6, 1)) if name == "x" else [shared]}
    with pytest.raises(ValueError, match=rf"^out: shares memory with {name}"):
        prepared(**slots)


def test_overwriting_what_a_backward_pass_needs_is_noticed(any_backend, checks):
    case = StepCase()
    call, written = call_of(case)
    prepared = prepare("fused_step", call, backend=any_backend)
    weight = torch.ones(case.batch, case.length, requires_grad=True)
    loss = (weight * written["out"]).sum()
    prepared(**slots_of(case))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_separate_prepared_calls_run_in_separate_threads(unchecked):
    cases = [replace(FULL, seed=seed, length=5000) for seed in range(4)]
    calls = [call_of(case) for case in cases]
    prepared = [prepare("fused_step", call, backend="cpu") for call, _ in calls]

    def run(i: int) -> None:
        for _ in range(20):
            prepared[i](**slots_of(cases[i]))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run, range(4)))
    for case, (_, written) in zip(cases, calls, strict=True):
        assert_all_same(written, expected_of(case))


@pytest.mark.parametrize("op", ["jvp_distill_loss", "normal_fill", "nothing"])
def test_an_op_with_the_call_of_another_is_refused(op):
    with pytest.raises(TypeError, match=rf"op '{op}' with a FusedStepCall; give 'fused_step'"):
        prepare(op, call_of(StepCase())[0])


def test_a_backend_that_cannot_run_says_why():
    with pytest.raises(ValueError, match=r"backend='cuda' cannot run fused_step on cpu tensors"):
        prepare("fused_step", call_of(StepCase())[0], backend="cuda")


def test_fused_step_itself_takes_no_slot():
    with pytest.raises(TypeError, match=r"^outputs\[0\]: .*pass a torch.Tensor"):
        fused_step(torch.zeros(2, 3), [SLOT], row=torch.zeros(7), converted=1)
