"""What is wrong in a call, or comes through a slot, is refused and named."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from torch.autograd import forward_ad

from genie_ext import SLOT, Noise, NormalFillCall, prepare
from genie_ext.testing import StepCase

from .prepared_calls import F16, F32, F64, FULL, SMALL, call_of, slots_of

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
