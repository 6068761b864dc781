"""Calls to prepare, what goes into their slots and what they should write."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from genie_ext import SLOT, FusedStepCall
from genie_ext.testing import StepCase, assert_same_bits, run_step

__all__ = [
    "BF16",
    "CASES",
    "F16",
    "F32",
    "F64",
    "FULL",
    "SMALL",
    "assert_all_same",
    "call_of",
    "expected_of",
    "slots_of",
]

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
