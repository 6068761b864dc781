"""Compile the Triton kernels for sm_90 through their own launch path, without a GPU.

Prints {case: [ptx, ...]} as JSON. Run as a script in a process without TRITON_INTERPRET: a kernel
is interpreted or compiled, once and for all.
"""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import torch
from triton.backends.compiler import GPUTarget
from triton.runtime import driver

from genie_ext import Noise
from genie_ext.ops.fused_step import triton as fused_step
from genie_ext.ops.fused_step.contract import FusedStepCall
from genie_ext.ops.jvp_distill_loss import triton as jvp_distill_loss
from genie_ext.ops.normal_fill import triton as normal_fill
from genie_ext.ops.normal_fill.contract import NormalFillCall
from genie_ext.testing import LossCase, StepCase

F32, F64, F16, BF16 = torch.float32, torch.float64, torch.float16, torch.bfloat16
FULL = StepCase(
    outputs=(F32, F16, BF16, F64),
    converted=2,
    history=2,
    draws=(1, F32),
    aux=True,
    aux_out=True,
    store=(True, False),
    x_in=BF16,
    batch=2,
    length=3072,
)
STEPS = {
    "step_f32": [FULL],
    "step_f64": [replace(FULL, state=F64)],
    "step_f16": [replace(FULL, state=F16)],
    "step_bf16": [replace(FULL, state=BF16)],
    "step_per_sample": [replace(FULL, per_sample=True)],
    "step_one_element": [replace(FULL, length=1, per_sample=True)],
    "step_smallest": [StepCase(outputs=(), converted=0, length=3072)],
    "step_draw_numbers": [StepCase(draws=(a, b), length=3072, stream=a) for a, b in [(0, 1), (16, 5), (2**32 - 1, 0)]],
}
FILLS = {
    "fill_f32": [(F32, 3072, 5)],
    "fill_f64": [(F64, 3072, 5)],
    "fill_f16": [(F16, 3072, 5)],
    "fill_bf16": [(BF16, 3072, 5)],
    "fill_one_element": [(F32, 1, 1)],
    "fill_draw_numbers": [(F32, 3072, draw) for draw in (0, 1, 16, 5, 2**32 - 1)],
}
LOSSES = {
    "loss_f32": [LossCase(F32, F32, (2, 1, 3072))],
    "loss_f64": [LossCase(F64, F32, (2, 1, 3072))],
    "loss_f16": [LossCase(F16, F16, (2, 1, 3072))],
    "loss_bf16": [LossCase(BF16, F32, (2, 1, 3072))],
    "loss_one_element": [LossCase(F32, F32, (2, 1, 1))],
    "loss_alone": [LossCase(F32, F32, (2, 1, 3072), differentiate=False)],
}


def main() -> None:
    h100: Any = SimpleNamespace(
        get_current_target=lambda: GPUTarget("cuda", 90, 32),
        get_current_device=lambda: 0,
        get_current_stream=lambda device: 0,
    )
    driver.set_active(h100)
    ptx = {name: compiled(fused_step, map(step_call, cases)) for name, cases in STEPS.items()}
    ptx |= {name: compiled(normal_fill, (fill_call(*c) for c in FILLS[name])) for name in FILLS}
    ptx |= {name: compiled(jvp_distill_loss, (case.call()[0] for case in LOSSES[name])) for name in LOSSES}
    print(json.dumps(ptx))


def compiled(op: Any, calls: Any) -> list[str]:
    """The different PTX of the kernels that these calls would launch."""
    kernel = getattr(op, f"{op.__name__.split('.')[-2]}_kernel")
    found: dict[str, str] = {}

    def compile_only(*args: Any, **options: Any) -> None:
        binary = type(kernel).run(kernel, *args, **{**options, "warmup": True})
        found[binary.hash] = binary.asm["ptx"]

    kernel.run = compile_only
    for call in calls:
        op.run(call)
    return list(found.values())


def step_call(case: StepCase) -> FusedStepCall:
    targets = {name: view.tensor for name, view in case.targets().items()}
    return FusedStepCall(
        **case.inputs(),
        out=targets["out"],
        aux_out=targets.get("aux_out"),
        stored=[targets.get(f"store[{h}]") for h in range(case.converted)],
        x_in=targets.get("x_in"),
        nonfinite=torch.zeros(case.batch, dtype=torch.int32),
    )


def fill_call(dtype: torch.dtype, length: int, draw: int) -> NormalFillCall:
    noise = Noise(torch.tensor([1]), torch.tensor([1, 2]), stream=1)
    return NormalFillCall(torch.empty(2, length, dtype=dtype), noise, draw)


if __name__ == "__main__":
    main()
