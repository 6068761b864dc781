"""A prepared call: the bits of fused_step, whatever comes through its slots, and nothing wrong gets in."""

from __future__ import annotations

import gc
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from typing import Any, cast

import pytest
import torch
from torch.autograd import forward_ad

import genie_ext
from genie_ext import SLOT, FusedStepCall, Noise, NormalFillCall, fused_step, normal_fill, prepare
from genie_ext.testing import StepCase, assert_same_bits, poisoned_empty, run_step

F32, F64, F16, BF16 = torch.float32, torch.float64, torch.float16, torch.bfloat16
FULL = StepCase(
    outputs=(F32, F16, BF16),
    converted=2,
    history=3,
    draws=(3, F32),
    aux=True,
    aux_out=True,
    store=(True, True),
    x_in=F32,
)
SMALL = StepCase(history=1, batch=2, length=6)
CASES = {
    "full": FULL,
    "f64": replace(FULL, state=F64, draws=(F64, 7)),
    "f16": replace(FULL, state=F16),
    "per_sample": replace(FULL, per_sample=True),
    "gaps": replace(FULL, gap=3),
    "one_sample": replace(FULL, batch=1),
    "no_elements": replace(FULL, length=0),
    "no_output": StepCase(outputs=(), converted=0, draws=(F32,)),
}


@pytest.fixture(params=["every_run_checked", "slots_checked"])
def checks(request, monkeypatch):
    monkeypatch.setenv("GENIE_EXT_CHECK", "1" if request.param == "every_run_checked" else "0")


@pytest.fixture
def unchecked(monkeypatch):
    monkeypatch.setenv("GENIE_EXT_CHECK", "0")


def call_of(case: StepCase, device: str = "cpu", **changed: Any) -> tuple[FusedStepCall, dict[str, torch.Tensor]]:
    """The case's call, its outputs and external draws being slots, and what it writes."""
    inputs = case.inputs(device)
    written = {name: view.tensor for name, view in case.targets(device).items()}
    written["nonfinite"] = torch.zeros(case.batch, dtype=torch.int32, device=device)
    given: dict[str, Any] = {
        **inputs,
        "outputs": [SLOT] * len(case.outputs),
        "draws": [d if isinstance(d, int) else SLOT for d in inputs["draws"]],
        "out": written["out"],
        "aux_out": written.get("aux_out"),
        "stored": [written.get(f"store[{h}]") for h in range(case.converted)],
        "x_in": written.get("x_in"),
        "nonfinite": written["nonfinite"],
    }
    return FusedStepCall(**given | changed), written


def slots_of(case: StepCase, device: str = "cpu") -> dict[str, Any]:
    inputs = case.inputs(device)
    return {"outputs": inputs["outputs"], "draws": [d for d in inputs["draws"] if isinstance(d, torch.Tensor)]}


def expected_of(case: StepCase, **changed: Any) -> dict[str, torch.Tensor]:
    renamed = {"aux": "aux_out", "stored[0]": "store[0]", "stored[1]": "store[1]"}
    return {renamed.get(name, name): t for name, t in run_step(case, "reference", **changed).items()}


def assert_all_same(written: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert written.keys() == expected.keys()
    for name, tensor in written.items():
        assert_same_bits(tensor, expected[name], name)


@pytest.fixture(params=genie_ext.available_backends("fused_step"))
def any_backend(request):
    """The reference too."""
    return request.param


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


WRONG_PARTS: dict[str, tuple[dict[str, Any], str]] = {
    "x": ({"x": None}, "x: None of type NoneType; pass a torch.Tensor"),
    "output": ({"outputs": [SLOT, None, SLOT]}, r"outputs\[1\]: None of type NoneType; pass a torch.Tensor"),
    "history": ({"history": [None] * 3}, r"history\[0\]: None of type NoneType; pass a torch.Tensor"),
    "no history": ({"history": None}, "history: None of type NoneType; pass a list or tuple"),
    "row": ({"row": None}, "row: None of type NoneType; pass a torch.Tensor"),
    "converted": ({"converted": "2"}, "converted: '2' of type str; pass an integer"),
    "aux": ({"aux": 3}, "aux: 3 of type int; pass a torch.Tensor or None"),
    "draw": ({"draws": [3, None]}, r"draws\[1\]: None of type NoneType; pass an integer"),
    "fractional draw": ({"draws": [1.5, SLOT]}, r"draws\[0\]: 1.5 of type float; pass an integer"),
    "noise": ({"noise": (1, 2, 3)}, "noise: a tuple; pass genie_ext.Noise"),
    "out": ({"out": None}, "out: None of type NoneType; pass a torch.Tensor"),
    "aux_out": ({"aux_out": True}, "aux_out: True of type bool; pass a torch.Tensor or None"),
    "stored": ({"stored": [None, 3]}, r"store\[1\]: 3 of type int; pass a torch.Tensor or None"),
    "x_in": ({"x_in": F32}, "x_in: torch.float32 of type dtype; pass a torch.Tensor or None"),
    "nonfinite": ({"nonfinite": 1}, "nonfinite: 1 of type int; pass a torch.Tensor or None"),
}


@pytest.mark.parametrize(("changed", "message"), WRONG_PARTS.values(), ids=WRONG_PARTS)
def test_a_part_of_another_type_is_refused(any_backend, checks, changed, message):
    call, _ = call_of(FULL, **changed)
    with pytest.raises(TypeError, match=message):
        prepare("fused_step", call, backend=any_backend)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"out": None}, "out: None of type"),
        ({"noise": None}, "noise: a NoneType"),
        ({"draw": 0.5}, "draw: 0.5 of type"),
    ],
)
def test_a_part_of_a_fill_of_another_type_is_refused(any_backend, checks, changed, message):
    call = NormalFillCall(torch.empty(3, 50), Noise(torch.tensor([9]), torch.arange(3)), 5)
    with pytest.raises(TypeError, match=message):
        prepare("normal_fill", replace(call, **changed), backend=any_backend)


OTHER = {
    "outputs[0]": ("outputs", 0),
    "draws[1]": ("draws", 0),
    "x": ("x", None),
}
WRONG = {
    "shape": (torch.zeros(3, 5), ValueError, r"shape \(3, 5\); need \(3, 127\)"),
    "dtype": (torch.zeros(3, 127, dtype=torch.int32), TypeError, "dtype torch.int32; need"),
    "strides": (torch.zeros(127, 3).T, ValueError, r"strides \(1, 3\).*contiguous"),
    "device": (torch.zeros(3, 127, device="meta"), ValueError, "on meta, but x is on cpu"),
    "type": (None, TypeError, "None of type NoneType"),
    "sparse": (torch.zeros(3, 127).to_sparse(), TypeError, "layout torch.sparse_coo"),
    "zero_tangent": (torch.ops.aten._efficientzerotensor([3, 127]), ValueError, "without memory"),
    "negative": (torch.zeros(3, 127, 1, dtype=torch.complex64).conj().imag[..., 0], ValueError, "strides|negative bit"),
    "misaligned": (
        torch.frombuffer(bytearray(4 * 3 * 127 + 1), dtype=F32, offset=1).view(3, 127),
        ValueError,
        "no multiple of the 4 bytes",
    ),
}


def with_wrong(slots: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    kind, index = OTHER[name]
    if index is None:
        return {**slots, kind: value}
    return {**slots, kind: [value, *slots[kind][1:]]}


@pytest.fixture(scope="module")
def run_once():
    """(backend, checks) -> a prepared call that has run, once for all tests that it refuses something in."""

    @cache
    def made(backend, checks):
        prepared = prepare("fused_step", call_of(FULL)[0], backend=backend)
        prepared(**slots_of(FULL))
        return prepared

    return made


@pytest.mark.parametrize("name", OTHER)
@pytest.mark.parametrize("wrong, error, message", WRONG.values(), ids=WRONG)
def test_a_wrong_tensor_in_a_slot_is_named(any_backend, checks, run_once, name, wrong, error, message):
    if name == "x" and wrong is None:
        pytest.skip("None means the call's own state")
    prepared = run_once(any_backend, os.environ["GENIE_EXT_CHECK"])
    with pytest.raises(error, match=rf"^{name.replace('[', chr(92) + '[')}: .*({message})"):
        prepared(**with_wrong(slots_of(FULL), name, wrong))


def test_a_state_of_another_dtype_is_refused_as_x(any_backend, checks):
    prepared = prepare("fused_step", call_of(FULL)[0], backend=any_backend)
    with pytest.raises(TypeError, match=r"^x: dtype torch.float64; need torch.float32"):
        prepared(**slots_of(FULL), x=torch.zeros(3, 127, dtype=F64))


@pytest.mark.parametrize("name", ["outputs", "draws"])
def test_another_number_of_tensors_than_slots_is_refused(any_backend, checks, name):
    prepared = prepare("fused_step", call_of(FULL)[0], backend=any_backend)
    with pytest.raises(ValueError, match=rf"^{name}: 0 given; the prepared call has \d slots"):
        prepared(**{**slots_of(FULL), name: []})


@pytest.mark.parametrize("given", [{"x": torch.zeros(3, 4)}, {"outputs": [torch.zeros(3, 4)]}], ids=["x", "outputs"])
def test_a_fill_has_no_slots(any_backend, checks, given):
    call = NormalFillCall(torch.zeros(3, 4), FULL.inputs()["noise"], 0)
    with pytest.raises(ValueError, match="1 given; the prepared call has 0 slots"):
        prepare("normal_fill", call, backend=any_backend)(**given)


@pytest.mark.parametrize("name", OTHER)
def test_what_requires_grad_is_refused_in_a_slot(any_backend, checks, name):
    prepared = prepare("fused_step", call_of(FULL)[0], backend=any_backend)
    leaf = torch.zeros(3, 127, requires_grad=True)
    slots = with_wrong(slots_of(FULL), name, leaf)
    with pytest.raises(ValueError, match=r"requires grad.*does not differentiate.*no_grad"):
        prepared(**slots)
    with torch.no_grad():
        prepared(**slots)


def test_what_requires_grad_is_refused_in_the_call(any_backend, checks):
    case = StepCase()
    row = case.inputs()["row"].requires_grad_()
    prepared = prepare("fused_step", call_of(case, row=row)[0], backend=any_backend)
    with pytest.raises(ValueError, match=r"^row: requires grad"):
        prepared(**slots_of(case))


@pytest.mark.parametrize("name", OTHER)
def test_what_carries_a_tangent_is_refused(any_backend, checks, name):
    prepared = prepare("fused_step", call_of(FULL)[0], backend=any_backend)
    value = torch.zeros(3, 127)
    with forward_ad.dual_level(), torch.no_grad(), pytest.raises(ValueError, match="carries a tangent"):
        prepared(**with_wrong(slots_of(FULL), name, forward_ad.make_dual(value, torch.ones_like(value))))


@pytest.mark.parametrize("transform", ["jvp", "grad", "vmap"])
def test_what_is_inside_a_transform_is_refused(any_backend, checks, transform):
    case = StepCase()
    prepared = prepare("fused_step", call_of(case)[0], backend=any_backend)

    def run(output):
        prepared([output])
        return output.sum()

    output = case.inputs()["outputs"][0]
    transformed = {
        "jvp": lambda: torch.func.jvp(run, (output,), (output,)),
        "grad": lambda: torch.func.grad(run)(output),
        "vmap": lambda: torch.func.vmap(run)(output[None]),
    }
    with pytest.raises(ValueError, match="requires grad or carries a tangent"):
        transformed[transform]()


@pytest.mark.parametrize(
    "changed, error, message",
    [
        ({"row": torch.zeros(3)}, ValueError, "^row: shape"),
        ({"row": torch.zeros(7, dtype=F64)}, TypeError, "^row: dtype"),
        ({"draws": [-1]}, ValueError, "draws"),
        ({"draws": [0], "noise": None}, ValueError, "^noise: missing"),
        ({"noise": Noise(torch.zeros(1), torch.arange(2))}, TypeError, "noise.seed"),
        ({"noise": Noise(torch.zeros(1, dtype=torch.int64), torch.arange(3))}, ValueError, "noise.sample_ids"),
        ({"noise": Noise(torch.zeros(1, dtype=torch.int64), torch.arange(2), 2**32)}, ValueError, "noise.stream"),
        ({"history": [torch.zeros(2, 6, dtype=F64)]}, TypeError, r"history\[0\]: dtype"),
        ({"history": [torch.zeros(6, 2).T]}, ValueError, r"history\[0\]: strides"),
        ({"out": torch.zeros(2, 6, dtype=F16)}, TypeError, "^out: dtype"),
        ({"out": torch.zeros(2, 5)}, ValueError, "^out: shape"),
        ({"nonfinite": torch.zeros(2)}, TypeError, "^nonfinite: dtype"),
        ({"stored": []}, ValueError, "^store: 0 entries"),
        ({"converted": 3}, ValueError, "^converted: 3 given"),
        ({"x": torch.zeros(0, 6)}, ValueError, "^x: shape"),
        ({"aux": torch.zeros(2, 6, device="meta")}, ValueError, "^row|^aux"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_wrong_call_is_refused_when_it_is_prepared(any_backend, changed, error, message):
    call = replace(call_of(SMALL)[0], **changed)
    with pytest.raises(error, match=message):
        prepare("fused_step", call, backend=any_backend)


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
