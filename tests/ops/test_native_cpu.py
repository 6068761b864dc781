"""The cpu backend: any instruction set, thread count and floating-point mode, the same bits."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import genie_ext
from genie_ext.testing import PHILOX_ANSWERS, PINNED_NORMALS, StepCase, assert_same_bits, assert_step_agrees

_C = pytest.importorskip("genie_ext._C", reason="the native core is not built")

HERE = Path(__file__).parent
LEVELS = ["baseline", "avx2", "avx512"]


def run_digest(environment: dict[str, str], threads: int = 2, *flush: str) -> dict:
    done = start([str(HERE / "native_digest.py"), str(threads), *flush], environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def start(arguments: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    inherited = {name: v for name, v in os.environ.items() if name != "GENIE_EXT_ISA"}
    path = os.pathsep.join(p for p in sys.path if p)
    return subprocess.run(
        [sys.executable, *arguments],
        env=inherited | {"PYTHONPATH": path} | environment,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def reference_digests() -> dict[str, str]:
    spec = importlib.util.spec_from_file_location("native_digest", HERE / "native_digest.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.digests("reference")


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("level", LEVELS)
def test_every_instruction_set_gives_the_bits_of_the_reference(level, threads, reference_digests):
    if LEVELS.index(level) > LEVELS.index(_C.isa()):
        pytest.skip(f"this process goes up to {_C.isa()}")
    written = run_digest({"GENIE_EXT_ISA": level}, threads)
    assert written == {"isa": level, "digests": reference_digests}


def test_normals_are_those_of_every_release(reference_digests):
    assert reference_digests["normals"] == PINNED_NORMALS


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_born_in_a_flushing_process_keep_subnormals(threads, reference_digests):
    assert run_digest({}, threads, "flush")["digests"] == reference_digests


def test_the_mode_of_the_calling_thread_is_given_back():
    torch.set_flush_denormal(True)
    try:
        genie_ext.fused_step(**StepCase().inputs(), backend="cpu")
        assert torch.tensor(1e-40) * 0.5 == 0
    finally:
        torch.set_flush_denormal(False)


def test_an_unknown_instruction_set_is_refused_by_name():
    done = start(["-c", "from genie_ext import _C; _C.isa()"], {"GENIE_EXT_ISA": "AVX2"})
    assert done.returncode != 0
    assert "ValueError: GENIE_EXT_ISA=AVX2: choose baseline, avx2 or avx512" in done.stderr


@pytest.mark.parametrize("counter, key, words", PHILOX_ANSWERS.values(), ids=PHILOX_ANSWERS)
def test_vector_philox_gives_the_published_words(counter, key, words):
    assert _C.philox4x32_10(counter, key) == words


@pytest.mark.parametrize("state", [torch.float32, torch.float64], ids=["f32", "f64"])
@pytest.mark.parametrize("history", range(17))
def test_sums_of_any_number_of_terms(history, state):
    assert_step_agrees(StepCase(state=state, history=history, in_place=True), "cpu")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["f16", "bf16"])
def test_every_16_bit_value_is_widened_as_torch_does(dtype):
    every = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype)[None]
    row = torch.tensor([0.0, 1.0, float("inf"), 1.0, 0.0, 1.0, 1.0])
    state = torch.zeros(every.shape)
    written = genie_ext.fused_step(state, [every], row=row, converted=1, backend="cpu").out
    assert_same_bits(written, every.float())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["f16", "bf16"])
@pytest.mark.parametrize("ulps", [-1, 0, 1])
def test_float32_beside_every_midpoint_is_narrowed_as_torch_does(dtype, ulps):
    every = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16)
    low, high = every.view(dtype).double(), (every + 1).view(dtype).double()
    middle = ((low + high) / 2).float()
    values = (middle.view(torch.int32) + ulps).view(torch.float32)[None]
    row = torch.tensor([1.0, 1.0])
    written = genie_ext.fused_step(values, row=row, converted=0, x_in=dtype, backend="cpu").x_in
    assert written is not None
    assert_same_bits(written, values.to(dtype))


@pytest.mark.parametrize(
    "arguments, error",
    [([], ValueError), ([1, 2, 3], ValueError), ([1.5], TypeError), ([1] * 200, ValueError)],
    ids=["none", "few", "fraction", "many"],
)
def test_malformed_arguments_raise_before_any_memory_is_read(arguments, error):
    with pytest.raises(error):
        _C.FusedStep(arguments)


def at(address: int, stride: int = 4, dtype: int = 0) -> list[int]:
    """A tensor as native_args flattens it."""
    return [address, stride, dtype]


ABSENT = at(0, 0, -1)


def step_arguments(
    batch=1, elements=4, row=8, nonfinite=(0, 0), noise=0, x=8, aux=ABSENT, out=8, outputs=(), history=(), draws=()
) -> list[int]:
    """A call of fused_step as ops/fused_step/native.py flattens it, with made-up addresses."""
    counts = [len(outputs), 0, len(history), len(draws)]
    states = [*at(x), *aux, *at(out), *ABSENT, *ABSENT]
    rest = [number for tensor in (*history, *outputs, *draws) for number in tensor]
    noises = [noise, noise, 1]
    return [batch, elements, 0, row, 0, 3, *nonfinite, *noises, *counts, *states, *rest, *[0] * len(draws)]


def refusal(op: str, arguments: list[int]) -> str:
    """What a run of made-up addresses says, in a process of its own, which needs no torch."""
    load = (
        "spec = util.spec_from_file_location('_C', path); _C = util.module_from_spec(spec); spec.loader.exec_module(_C)"
    )
    code = f"from importlib import util; path = {_C.__file__!r}; {load}; _C.{op}({arguments}).run_cpu([], 1)"
    return start(["-c", code], {}).stderr


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"batch": -1}, "negative"),
        ({"elements": -1}, "negative"),
        ({"x": 0}, "null x"),
        ({"aux": at(0)}, "null aux"),
        ({"out": 0}, "null out"),
        ({"row": 0}, "null row"),
        ({"nonfinite": (1, 0)}, "null nonfinite"),
        ({"outputs": [at(0)]}, "null output"),
        ({"history": [at(0)]}, "null history"),
        ({"draws": [at(0)]}, "null draw"),
        ({"draws": [ABSENT]}, "null noise"),
        ({"outputs": [at(8, 4, 4)]}, "unknown dtype"),
    ],
    ids=str,
)
def test_null_addresses_and_negative_sizes_are_refused(changed, message):
    assert f"ValueError: arguments: {message}" in refusal("FusedStep", step_arguments(**changed))


@pytest.mark.parametrize(
    "tensors, message",
    [
        ([2, *at(8)], "no such slot"),
        ([-1, *at(8)], "no such slot"),
        ([0, *ABSENT], "an absent tensor in a slot"),
        ([1, *at(0)], "null output"),
        ([1, 8, 4], "too few"),
    ],
    ids=str,
)
def test_what_stands_in_a_slot_is_looked_at(tensors, message):
    call = _C.FusedStep(step_arguments(outputs=[at(0)]))
    with pytest.raises(ValueError, match=message):
        call.run_cpu(tensors, 1)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([-2, 8, *at(8), 8, 8, 0, 0], "negative"),
        ([2, 8, *at(0), 8, 8, 0, 0], "null out"),
        ([2, 8, *ABSENT, 8, 8, 0, 0], "no out"),
        ([2, 8, *at(8), 0, 8, 0, 0], "null noise"),
        ([2, 8, *at(8), 8, 0, 0, 0], "null noise"),
    ],
    ids=str,
)
def test_normal_fill_refuses_them_too(arguments, message):
    assert f"ValueError: arguments: {message}" in refusal("NormalFill", arguments)


def loss_arguments(
    batch=1,
    elements=4,
    maps=8,
    target=8,
    gamma=(8, 1, 0),
    weights=ABSENT,
    gradient=ABSENT,
    scratch=8,
    losses=8,
    total=8,
) -> list[int]:
    """A call of jvp_distill_loss as its native.py flattens it, with made-up addresses, by default without gradient."""
    tensors = [*at(maps, 12), *at(target), *gamma, *weights, *gradient]
    return [batch, elements, 0, 0, *tensors, scratch, losses, total]


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"batch": -1}, "negative"),
        ({"elements": -1}, "negative"),
        ({"maps": 0}, "null maps"),
        ({"target": 0}, "null target"),
        ({"gradient": (0, 12, 0)}, "null gradient"),
        ({"gradient": (8, 12, 1)}, "gradient of another dtype than maps"),
        ({"gamma": (0, 1, 0)}, "null gamma"),
        ({"gamma": (8, 1, 2)}, "gamma or weights of 16 bits"),
        ({"weights": (0, 1, 0)}, "null weights"),
        ({"weights": (8, 1, 3)}, "gamma or weights of 16 bits"),
        ({"scratch": 0}, "null scratch"),
        ({"losses": 0}, "null scratch, losses"),
        ({"total": 0}, "null scratch, losses or total"),
    ],
    ids=str,
)
def test_jvp_distill_loss_refuses_them_too(changed, message):
    assert f"ValueError: arguments: {message}" in refusal("JvpDistillLoss", loss_arguments(**changed))


def filter_arguments(
    sizes=(1, 1, 4, 4), skips=0, z=8, out=8, even=(2, 8, 8), odd=(1, 8, 8), gains=(8, 8, 8, 8), noise=8
) -> list[int]:
    """A call of spectral_filter as its native.py flattens it, with made-up addresses; both axes alike."""
    tensors = [*(ABSENT if z is None else at(z, 16)), *at(out, 16)]
    flags = [0, 0, 1 - skips, skips, 0, 1, 1]
    return [*sizes, *flags, *tensors, *even, *odd, *even, *odd, *gains, 0, noise, noise, 0, 0]


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"sizes": (-1, 1, 4, 4)}, "negative"),
        ({"sizes": (1, -1, 4, 4)}, "negative"),
        ({"sizes": (1, 1, 0, 4)}, "an image of no rows or columns"),
        ({"even": (3, 8, 8)}, "more frequencies than elements"),
        ({"odd": (-1, 8, 8)}, "more frequencies than elements"),
        ({"skips": 1}, "a skipped transform without all frequencies"),
        ({"z": 0}, "null z"),
        ({"out": 0}, "null out"),
        ({"even": (2, 0, 8)}, "null matrix"),
        ({"odd": (1, 8, 0)}, "null matrix"),
        ({"gains": (8, 8, 8, 0)}, "null gain"),
        ({"z": None, "noise": 0}, "null noise"),
    ],
    ids=str,
)
def test_spectral_filter_refuses_them_too(changed, message):
    assert f"ValueError: arguments: {message}" in refusal("SpectralFilter", filter_arguments(**changed))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([-1, 4, *at(8), 8, 8], "negative"),
        ([1, 4, *at(0), 8, 8], "null x"),
        ([1, 4, *ABSENT, 8, 8], "no x"),
        ([1, 4, *at(8), 0, 8], "null partials"),
        ([1, 4, *at(8), 8, 0], "null out"),
    ],
    ids=str,
)
def test_sum_of_squares_refuses_them_too(arguments, message):
    assert f"ValueError: arguments: {message}" in refusal("SumOfSquares", arguments)


IN_A_SMALL_THREAD = """
import threading, torch, genie_ext
x, row = torch.ones(2, 5000, dtype=torch.float64), torch.tensor([2.0, 0.0, 1.0], dtype=torch.float64)
noise = genie_ext.Noise(torch.tensor([1]), torch.arange(2))
def step():
    genie_ext.fused_step(x, row=row, converted=0, draws=[0], noise=noise, out=x, backend="cpu")
    genie_ext.normal_fill(x.float(), noise=noise, backend="cpu")
    genie_ext.jvp_distill_loss(torch.ones(2, 3, 5000).half().requires_grad_(), x[:, None], x[:, 0], backend="cpu")
    genie_ext.SpectralFilter(torch.full((50, 50), 0.5), backend="cpu").fill(torch.ones(2, 50, 50), noise=noise)
    genie_ext.sum_of_squares(x, backend="cpu")
    print(int(x.sum()))
threading.stack_size(128 * 1024)
thread = threading.Thread(target=step)
thread.start()
thread.join()
"""


def test_a_thread_of_128_kib_is_enough():
    done = start(["-c", IN_A_SMALL_THREAD], {})
    assert (done.returncode, done.stdout) == (0, "20000\n"), done.stderr


@pytest.fixture(scope="module")
def disassembly() -> dict[str, str]:
    """function -> its instructions, of the built module"""
    if shutil.which("objdump") is None:
        pytest.skip("no objdump")
    command = ["objdump", "-d", "-C", "--no-show-raw-insn", _C.__file__]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    functions = [part.partition(">:\n") for part in text.split("\n\n")]
    return {head.partition("<")[2]: body for head, found, body in functions if found}


def test_no_instruction_of_the_kernels_is_a_fused_multiply_add(disassembly):
    kernels = {name: body for name, body in disassembly.items() if "genie::" in name}
    assert any("mulps" in body for body in kernels.values())
    assert [name for name, body in kernels.items() if "\tvfm" in body or "\tvfnm" in body] == []


@pytest.mark.parametrize("register, levels", [("%zmm", ("avx512",)), ("%ymm", ("avx2", "avx512"))], ids=["zmm", "ymm"])
def test_wide_registers_stay_inside_the_functions_of_their_level(disassembly, register, levels):
    users = [name for name, body in disassembly.items() if register in body]
    assert users
    assert [u for u in users if not any(f"genie::{level}::" in u for level in levels)] == []
