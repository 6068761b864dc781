"""What Triton compiles for a GPU holds IEEE operations only: the bits follow from the PTX."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("compile_ptx.py")
ROOT = Path(__file__).parents[2]
STEPS = ["f32", "f64", "f16", "bf16", "per_sample", "one_element", "smallest", "draw_numbers"]
FILLS = ["f32", "f64", "f16", "bf16", "one_element", "draw_numbers"]
LOSSES = ["f32", "f64", "f16", "bf16", "one_element", "alone"]
DRAWING = [f"step_{name}" for name in STEPS] + [f"fill_{name}" for name in FILLS]
KERNELS = DRAWING + [f"loss_{name}" for name in LOSSES]
FORBIDDEN = {
    "contraction": r"\bfma\.",
    "approximation": r"\.approx",
    "flush to zero": r"\.ftz",
    "inexact division": r"\bdiv\.full",
    "default rounding": r"\b(add|sub|mul)\.f(32|64)",
    "reduced precision": r"\b(ex2|lg2|sin|cos|tanh|rcp|rsqrt)\.",
}
PER_DRAW = 4  # 1024 elements on 128 threads: 8 each, from 4 Box-Muller pairs


@pytest.fixture(scope="module")
def ptx(tmp_path_factory) -> dict[str, list[str]]:
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path_factory.mktemp("triton"))
    environment["PYTHONPATH"] = str(ROOT)
    command = [sys.executable, str(SCRIPT)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def test_every_kernel_named_here_is_compiled(ptx):
    assert sorted(ptx) == sorted(KERNELS)


@pytest.mark.parametrize("pattern", FORBIDDEN.values(), ids=FORBIDDEN)
@pytest.mark.parametrize("kernel", KERNELS)
def test_no_instruction_of_other_rounding(ptx, kernel, pattern):
    assert re.findall(pattern, ptx[kernel][0]) == []


@pytest.mark.parametrize("kernel", DRAWING)
def test_square_roots_are_correctly_rounded_and_of_the_expected_number(ptx, kernel):
    draws = {"step_smallest": 0, "step_draw_numbers": 2}.get(kernel, 1)
    assert len(re.findall(r"\bsqrt\.rn\.f32", ptx[kernel][0])) == PER_DRAW * draws
    assert len(re.findall(r"\bsqrt\.", ptx[kernel][0])) == PER_DRAW * draws


@pytest.mark.parametrize("kernel", ["step_f32", "step_smallest", "fill_f32", "loss_f32"])
def test_aligned_tensors_move_16_bytes_at_a_time(ptx, kernel):
    assert "st.global.v4" in ptx[kernel][0]


@pytest.mark.parametrize("kernel", KERNELS)
def test_nothing_is_read_after_the_first_write(ptx, kernel):
    """So out may be x and aux_out may be aux."""
    first_write = ptx[kernel][0].index("st.global")
    assert "ld.global" not in ptx[kernel][0][first_write:]


@pytest.mark.parametrize("kernel", KERNELS)
def test_numbers_of_draws_and_streams_do_not_recompile(ptx, kernel):
    assert len(ptx[kernel]) == 1
