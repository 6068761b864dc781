"""fused_step: every backend has the bits of the reference for any row, dtype, memory and noise."""

from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import genie_ext
from genie_ext.testing import BY_DTYPE, StepCase, assert_same_bits, assert_step_agrees, run_step

F32, F64, F16, BF16 = torch.float32, torch.float64, torch.float16, torch.bfloat16

FULL = StepCase(
    outputs=(F32, F16, BF16),
    converted=2,
    history=2,
    draws=(3, F32),
    aux=True,
    aux_out=True,
    store=(True, True),
    x_in=F32,
)


@pytest.mark.parametrize("output", **BY_DTYPE)
@pytest.mark.parametrize("state", **BY_DTYPE)
def test_states_and_outputs_of_every_dtype(backend, device, state, output):
    assert_step_agrees(replace(FULL, state=state, outputs=(output, F32)), backend, device)


@pytest.mark.parametrize("x_in", **BY_DTYPE)
@pytest.mark.parametrize("state", **BY_DTYPE)
def test_network_input_of_every_dtype(backend, device, state, x_in):
    assert_step_agrees(StepCase(state=state, x_in=x_in), backend, device)


@pytest.mark.parametrize("state", **BY_DTYPE)
@pytest.mark.parametrize("length", [1, 3, 4, 5, 127, 1023, 3072, 4099])
def test_ragged_lengths_at_unaligned_addresses(backend, device, length, state):
    case = replace(FULL, length=length, state=state, start=1, gap=1, batch=2)
    assert_step_agrees(case, backend, device)


@pytest.mark.parametrize("shape", [(3,), (3, 1), (3, 2, 1, 5), (3, 0)], ids=str)
def test_samples_of_any_rank(backend, device, shape):
    case = replace(FULL, length=math.prod(shape[1:]))
    given = {name: reshaped(value, shape) for name, value in case.inputs(device).items()}
    flags = torch.zeros(3, dtype=torch.int32, device=device)
    out = genie_ext.fused_step(**given, aux_out=True, nonfinite=flags, backend=backend).out
    assert out.shape == shape
    assert_same_bits(out.reshape(3, case.length), run_step(case, "reference")["out"])


def reshaped(value: Any, shape: tuple[int, ...]) -> Any:
    """The states and tensors of samples in another shape; anything else as it is."""
    if isinstance(value, list):
        return [reshaped(v, shape) for v in value]
    is_state = isinstance(value, torch.Tensor) and value.ndim == 2
    return value.reshape(shape) if is_state else value


@pytest.mark.parametrize("gap", [0, 1, 127, 1000])
@pytest.mark.parametrize("start", [0, 1, 3])
def test_any_start_and_any_stride_between_samples(backend, device, start, gap):
    assert_step_agrees(replace(FULL, start=start, gap=gap), backend, device)


@pytest.mark.parametrize("select", [slice(0, 3), slice(0, 6, 2)], ids=["stacked", "interleaved"])
def test_halves_of_a_guided_batch_are_read_in_place(backend, device, select):
    both = torch.randn(6, 200, generator=torch.Generator().manual_seed(1)).to(device)
    other = slice(3, 6) if select.step is None else slice(1, 6, 2)
    pair = [both[select], both[other]]
    row = torch.tensor([0.0, 1.5, -0.5, float("inf"), 1.0, 0.3, 0.7, 1.0]).to(device)
    states = torch.zeros_like(both)
    out = states[select]
    genie_ext.fused_step(states[other], pair, row=row, converted=1, out=out, backend=backend)
    expected = 0.7 * (1.5 * both[select].cpu() - 0.5 * both[other].cpu())
    assert_same_bits(out, expected.add(0.0))
    assert not bool(states[other].any())


@pytest.mark.parametrize("state", **BY_DTYPE)
def test_tables_of_one_row_per_sample(backend, device, state):
    assert_step_agrees(replace(FULL, state=state, per_sample=True), backend, device)


@pytest.mark.parametrize("converted", [0, 1, 2])
@pytest.mark.parametrize("outputs", [0, 1, 2, 8])
def test_counts_of_outputs_and_converted(backend, device, outputs, converted):
    mixed = (F32, BF16, F16, F64) * 2
    assert_step_agrees(StepCase(outputs=mixed[:outputs], converted=converted), backend, device)


@pytest.mark.parametrize("state", [F32, F64], ids=["f32", "f64"])
@pytest.mark.parametrize("history", [0, 1, 3, 16])
def test_counts_of_history(backend, device, history, state):
    assert_step_agrees(StepCase(history=history, state=state), backend, device)


def test_the_largest_row(backend, device):
    largest = replace(FULL, outputs=(BF16,) * 8, history=16, draws=(0, 1), per_sample=True)
    assert_step_agrees(largest, backend, device)


@pytest.mark.parametrize("aux_out", [False, True], ids=["one_state", "two_states"])
@pytest.mark.parametrize("aux", [False, True], ids=["", "aux"])
@pytest.mark.parametrize("state", **BY_DTYPE)
def test_second_state_read_and_written_independently(backend, device, state, aux, aux_out):
    case = StepCase(state=state, aux=aux, aux_out=aux_out, history=1)
    assert_step_agrees(case, backend, device)


@pytest.mark.parametrize("store", [(False, True), (True, False), (True, True)])
@pytest.mark.parametrize("state", **BY_DTYPE)
def test_converted_outputs_are_stored_where_asked_for(backend, device, state, store):
    assert_step_agrees(StepCase(state=state, converted=2, store=store), backend, device)


@pytest.mark.parametrize("per_sample", [False, True], ids=["shared", "per_sample"])
@pytest.mark.parametrize("state", **BY_DTYPE)
def test_clamp_and_scale(backend, device, state, per_sample):
    case = replace(FULL, state=state, clamped=True, per_sample=per_sample)
    written = assert_step_agrees(case, backend, device)
    bound = case.row(torch.Generator().manual_seed(20))[..., case.columns().index("b1")]
    scale = case.row(torch.Generator().manual_seed(20))[..., case.columns().index("r1")]
    assert bool((written["stored[0]"].abs() <= (bound * scale).reshape(-1, 1)).all())
    assert bool((written["stored[0]"].abs() == (bound * scale).reshape(-1, 1)).any())


@pytest.mark.parametrize("length", [127, 4099])
@pytest.mark.parametrize("state", **BY_DTYPE)
def test_in_place_gives_the_bits_of_out_of_place(backend, device, state, length):
    elsewhere = replace(FULL, state=state, batch=2, length=length)
    in_place = assert_step_agrees(replace(elsewhere, in_place=True), backend, device)
    separate = run_step(elsewhere, "reference")
    assert_same_bits(in_place["out"], separate["out"])
    assert_same_bits(in_place["aux"], separate["aux"])


@pytest.mark.parametrize(
    "draws",
    [(0,), (0, 1), (F32,), (F32, BF16), (1, F64), (F16, 1), (2**32 - 1, 2**31)],
    ids=str,
)
@pytest.mark.parametrize("state", [F32, F64, BF16], ids=["f32", "f64", "bf16"])
def test_draws_in_the_kernel_external_and_mixed(backend, device, state, draws):
    assert_step_agrees(StepCase(state=state, draws=draws, aux_out=True), backend, device)


@pytest.mark.parametrize("stream", [0, 1, 2**32 - 1])
@pytest.mark.parametrize("seed", [0, 1, 2**31, 2**32, 2**63, 2**64 - 1])
def test_seeds_and_streams_of_all_bits(backend, device, seed, stream):
    case = StepCase(draws=(1,), seed=seed, stream=stream, sample_ids=(0, 2**31, 2**32 - 1))
    assert_step_agrees(case, backend, device)


def test_draws_are_those_of_normal_fill(backend, device):
    only_noise = (("W0.x", 0.0), ("W0.y1", 0.0), ("C0.d1", 1.0))
    case = StepCase(draws=(9,), length=4099, coefficients=only_noise)
    z = torch.empty(case.batch, case.length, device=device)
    genie_ext.normal_fill(z, noise=case.inputs(device)["noise"], draw=9, backend=backend)
    assert_same_bits(run_step(case, backend, device)["out"], z)


@pytest.mark.parametrize("threads", [1, 2])
def test_any_number_of_threads(threads):
    case = replace(FULL, length=12_000)  # beyond what one thread does alone
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        expected = run_step(case, "reference")
        torch.set_num_threads(threads)
        assert_same_bits(run_step(case, "cpu")["out"], expected["out"])
    finally:
        torch.set_num_threads(before)


def test_the_reference_is_the_formula():
    case = StepCase(F64, outputs=(F64, F64), history=1, draws=(F64,), aux=True, x_in=F64)
    given = {k: v[0].numpy() for k, v in case.inputs().items() if k in ("x", "aux")}
    o1, o2, past, d = (case.inputs()[k][i][0].numpy() for k, i in EXTERNAL)
    p, q1, q2, _, r, w_x, w_aux, w_y, w_h, c_d, e = case.inputs()["row"].tolist()
    y = r * (p * given["x"] + q1 * o1 + q2 * o2)
    expected = w_x * given["x"] + w_aux * given["aux"] + w_y * y + w_h * past + c_d * d
    written = run_step(case, "reference")
    np.testing.assert_allclose(written["out"][0].numpy(), expected, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(written["x_in"][0].numpy(), e * expected, rtol=1e-12, atol=1e-14)


EXTERNAL = [("outputs", 0), ("outputs", 1), ("history", 0), ("draws", 0)]


def digest() -> str:
    """md5 of what the reference writes for the full case, noise included."""
    written = run_step(replace(FULL, length=4099), "reference")
    parts = [tensor.contiguous().view(torch.uint8).numpy().tobytes() for tensor in written.values()]
    return hashlib.md5(b"".join(parts)).hexdigest()


def test_the_reference_does_not_depend_on_the_instruction_set():
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": "default"}
    environment["PYTHONPATH"] = os.pathsep.join([os.path.dirname(__file__), *sys.path])
    command = [sys.executable, "-c", "import test_fused_step as t; print(t.digest())"]
    plain = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert plain.stdout.strip() == digest()
