"""Tensors without memory, or with memory that no element may begin at, are refused by every op on every backend."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

import genie_ext
from genie_ext import Noise, fused_step, jvp_distill_loss, normal_fill

B, N = 2, 6
F32, I32, I64 = torch.float32, torch.int32, torch.int64


def zero_tangent(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """What forward mode makes of a tangent that is zero."""
    return torch.ops.aten._efficientzerotensor(shape, dtype=dtype)


def freed(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    tensor = torch.zeros(shape, dtype=dtype)
    tensor.untyped_storage().resize_(0)
    return tensor


def fake(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    with FakeTensorMode():
        return torch.zeros(shape, dtype=dtype)


def misaligned(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    size = torch.Size(shape).numel()
    memory = bytearray(size * dtype.itemsize + 1)
    return torch.frombuffer(memory, dtype=dtype, count=size, offset=1).view(shape)


Maker = Callable[[tuple[int, ...], torch.dtype], Tensor]
WITHOUT_MEMORY: dict[str, Maker] = {"zero_tangent": zero_tangent, "freed": freed, "fake": fake}


def noise(**changed: Tensor) -> Noise:
    return Noise(torch.zeros(1, dtype=I64), torch.arange(B))._replace(**changed)


def step(**changed: Any) -> Any:
    valid: dict[str, Any] = {
        "x": torch.zeros(B, N),
        "outputs": [torch.zeros(B, N)],
        "row": torch.zeros(7),
        "converted": 1,
    }
    return fused_step(**valid | changed)


def fill(**changed: Any) -> Any:
    return normal_fill(**{"out": torch.zeros(B, N), "noise": noise()} | changed)


def loss(**changed: Any) -> Any:
    valid: dict[str, Any] = {"maps": torch.zeros(B, 3, N), "target": torch.zeros(B, 1, N), "gamma": torch.ones(B)}
    return jvp_distill_loss(**valid | changed)


STATE = (B, N)
# op, argument -> shape and dtype, and the call with a tensor in that place
ARGUMENTS: dict[str, tuple[Callable[..., Any], str, tuple[int, ...], torch.dtype, Callable[[Tensor], dict[str, Any]]]]
ARGUMENTS = {
    "step x": (step, "x", STATE, F32, lambda t: {"x": t}),
    "step output": (step, "outputs[0]", STATE, F32, lambda t: {"outputs": [t]}),
    "step history": (step, "history[0]", STATE, F32, lambda t: {"history": [t], "row": torch.zeros(8)}),
    "step row": (step, "row", (7,), F32, lambda t: {"row": t}),
    "step aux": (step, "aux", STATE, F32, lambda t: {"aux": t, "row": torch.zeros(8)}),
    "step draw": (
        step, "draws[0]", STATE, F32, lambda t: {"draws": [t], "noise": noise(), "row": torch.zeros(8)}
    ),
    "step out": (step, "out", STATE, F32, lambda t: {"out": t}),
    "step aux_out": (step, "aux_out", STATE, F32, lambda t: {"aux_out": t, "row": torch.zeros(9)}),
    "step store": (step, "store[0]", STATE, F32, lambda t: {"store": [t]}),
    "step x_in": (step, "x_in", STATE, torch.float16, lambda t: {"x_in": t}),
    "step nonfinite": (step, "nonfinite", (B,), I32, lambda t: {"nonfinite": t}),
    "step seed": (step, "noise.seed", (1,), I64, lambda t: {"noise": noise(seed=t)}),
    "step ids": (step, "noise.sample_ids", (B,), I64, lambda t: {"noise": noise(sample_ids=t)}),
    "fill out": (fill, "out", STATE, F32, lambda t: {"out": t}),
    "fill seed": (fill, "noise.seed", (1,), I64, lambda t: {"noise": noise(seed=t)}),
    "fill ids": (fill, "noise.sample_ids", (B,), I64, lambda t: {"noise": noise(sample_ids=t)}),
    "loss maps": (loss, "maps", (B, 3, N), F32, lambda t: {"maps": t}),
    "loss target": (loss, "target", (B, 1, N), F32, lambda t: {"target": t}),
    "loss gamma": (loss, "gamma", (B,), F32, lambda t: {"gamma": t}),
    "loss weights": (loss, "weighting", (B,), F32, lambda t: {"weighting": t}),
}  # fmt: skip
every_argument = pytest.mark.parametrize("op, name, shape, dtype, given", ARGUMENTS.values(), ids=ARGUMENTS)
every_backend = pytest.mark.parametrize("backend_name", genie_ext.available_backends("fused_step"))


@every_argument
@every_backend
@pytest.mark.parametrize("make", WITHOUT_MEMORY.values(), ids=WITHOUT_MEMORY)
def test_a_tensor_without_memory_is_refused(op, name, shape, dtype, given, backend_name, make):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=rf"^{re.escape(name)}: .*without memory"):
            op(**given(make(shape, dtype)), backend=backend_name)


@every_argument
@every_backend
def test_a_misaligned_tensor_is_refused(op, name, shape, dtype, given, backend_name):
    message = rf"^{re.escape(name)}: .*no multiple of the {dtype.itemsize} bytes.*pass {re.escape(name)}\.clone\(\)"
    with pytest.raises(ValueError, match=message):
        op(**given(misaligned(shape, dtype)), backend=backend_name)


@every_argument
@every_backend
def test_its_clone_is_accepted(op, name, shape, dtype, given, backend_name):
    op(**given(misaligned(shape, dtype).clone()), backend=backend_name)


@every_backend
def test_tensors_of_no_elements_need_no_memory(backend_name):
    empty = torch.zeros(B, 0)
    step(x=empty, outputs=[empty], backend=backend_name)
    fill(out=empty, backend=backend_name)
    loss(maps=torch.zeros(B, 3, 0), target=torch.zeros(B, 1, 0), backend=backend_name)
