"""The CUDA kernels run on the host, thread by thread: indices, layouts and tails.

cuda_on_host/cuda_runtime.h stands in for CUDA; what it cannot show is the GPU's own arithmetic.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sysconfig
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch

import genie_ext
from genie_ext.ops import native_args
from genie_ext.testing import (
    BY_DTYPE,
    LossCase,
    SentinelView,
    StepCase,
    assert_loss_agrees,
    assert_same_bits,
    assert_step_agrees,
)

pytestmark = pytest.mark.long
HERE = Path(__file__).parent
CSRC = HERE.parents[1] / "csrc"
F32, F64, F16, BF16 = torch.float32, torch.float64, torch.float16, torch.bfloat16
by_length = pytest.mark.parametrize("length", [4, 3000, 3001], ids=["quad", "vector", "ragged"])

FULL = StepCase(
    outputs=(F32, F16, BF16),
    converted=2,
    history=5,
    draws=(3, F32),
    aux=True,
    aux_out=True,
    store=(True, True),
    x_in=F32,
    per_sample=True,
)


@pytest.fixture(scope="session")
def module(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """genie_ext._C whose backend "cpu" is the CUDA kernels."""
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("no C++ compiler (c++) on PATH")
    pybind11 = pytest.importorskip("pybind11", reason="the module's bindings need pybind11")
    path = tmp_path_factory.mktemp("cuda_on_host") / "_C.so"
    names = ("bindings.cpp", "read_calls.cpp", "tensors.cpp", "fused_step/step_rows.cpp", "common/isa.cpp")
    shared = [CSRC / name for name in names]
    sources = [HERE / "cuda_on_host/module.cpp", *shared]
    includes = [HERE / "cuda_on_host", CSRC, sysconfig.get_path("include"), pybind11.get_include()]
    flags = ["-std=c++20", "-O1", "-fPIC", "-shared", "-pthread", "-ffp-contract=off"]
    flags += ["-DGENIE_ISA=gpu", "-DGENIE_EXT_CUDA", '-DGENIE_EXT_CUDA_ARCHS="host"']
    command = [compiler, *flags, *(f"-I{i}" for i in includes), *map(str, sources), "-o", str(path)]
    subprocess.run(command, check=True)
    spec = importlib.util.spec_from_file_location("_C", path)
    assert spec is not None and spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture
def kernels(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of the backend that runs the CUDA kernels."""
    if genie_ext.backends()["fused_step"]["cpu"] != "available":
        pytest.skip("genie_ext._C is not built, so nothing can stand in for it")
    monkeypatch.setattr("genie_ext.ops.fused_step.native._C", module)
    monkeypatch.setattr("genie_ext.ops.normal_fill.native._C", module)
    monkeypatch.setattr("genie_ext.ops.jvp_distill_loss.native._C", module)
    monkeypatch.setattr("genie_ext.ops.sum_of_squares.native._C", module)
    return "cpu"


@by_length
@pytest.mark.parametrize("state", **BY_DTYPE)
def test_states_of_every_dtype(kernels, state, length):
    assert_step_agrees(replace(FULL, state=state, length=length), kernels)


@by_length
@pytest.mark.parametrize("output", **BY_DTYPE)
@pytest.mark.parametrize("state", [F32, F64], ids=["f32", "f64"])
def test_outputs_of_every_dtype(kernels, state, output, length):
    case = StepCase(state, (output,), history=3, store=(True,), x_in=BF16, length=length)
    assert_step_agrees(case, kernels)


@by_length
@pytest.mark.parametrize("converted", [0, 1, 2])
@pytest.mark.parametrize("outputs, history", [(0, 0), (1, 1), (3, 4), (8, 16)])
def test_lists_of_every_length(kernels, outputs, history, converted, length):
    mixed = (F32, BF16, F16, F32) * 2
    assert_step_agrees(StepCase(F32, mixed[:outputs], converted, history, length=length), kernels)


@by_length
def test_unused_terms_are_left_out_per_sample(kernels, length):
    case = replace(FULL, length=length)
    row = case.inputs()["row"]
    row[0, 1::2] = 0.0
    row[1, ::2] = -0.0
    row[2] = 0.0
    assert_step_agrees(case, kernels, row=row)


@by_length
def test_states_in_place(kernels, length):
    assert_step_agrees(replace(FULL, in_place=True, length=length), kernels)


@pytest.mark.parametrize("gap", [0, 1, 2, 4])
@pytest.mark.parametrize("start", [0, 1, 2, 4])
def test_unaligned_memory_is_not_touched_by_vectors(kernels, start, gap):
    assert_step_agrees(replace(FULL, start=start, gap=gap, length=64), kernels)


@by_length
def test_nonfinite_samples_are_flagged(kernels, length):
    case = StepCase(length=length)
    x = case.inputs()["x"]
    x[1, -1] = float("inf")
    assert assert_step_agrees(case, kernels, x=x)["nonfinite"].tolist() == [0, 1, 0]


@by_length
@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("dtype", **BY_DTYPE)
def test_normal_fill(kernels, dtype, start, length):
    noise = StepCase().inputs()["noise"]
    view = SentinelView(3, length, dtype=dtype, start=start)
    genie_ext.normal_fill(view.tensor, noise=noise, draw=4, backend=kernels)
    expected = torch.empty(3, length, dtype=dtype)
    genie_ext.normal_fill(expected, noise=noise, draw=4, backend="reference")
    assert view.intact()
    assert_same_bits(view.tensor, expected)


@by_length
@pytest.mark.parametrize("target", **BY_DTYPE)
@pytest.mark.parametrize("maps", **BY_DTYPE)
def test_losses_of_every_dtype(kernels, maps, target, length):
    assert_loss_agrees(LossCase(maps, target, (3, 2, length // 2)), kernels)


@pytest.mark.parametrize("blocks", [0, 1, 2, 3, 7])
def test_losses_of_any_number_of_partial_sums(kernels, blocks):
    assert_loss_agrees(LossCase(shape=(5, 1, 1024 * blocks)), kernels)


@pytest.mark.parametrize("batch", [1, 2, 3, 300])
def test_losses_of_any_number_of_samples(kernels, batch):
    assert_loss_agrees(LossCase(shape=(batch, 1, 5)), kernels)


@pytest.mark.parametrize("gap", [0, 1, 2, 4])
@pytest.mark.parametrize("start", [0, 1, 2, 4])
def test_unaligned_maps_are_not_touched_by_vectors(kernels, start, gap):
    assert_loss_agrees(LossCase(shape=(3, 1, 64), start=start, gap=gap), kernels)


def test_a_loss_without_gradient(kernels):
    assert_loss_agrees(LossCase(shape=(3, 1, 3000), differentiate=False), kernels)


@pytest.mark.parametrize("length", [0, 1, 4, 1024, 3000, 3001, 9000])
@pytest.mark.parametrize("start, gap", [(0, 0), (1, 0), (0, 1), (2, 4)])
@pytest.mark.parametrize("dtype", **BY_DTYPE)
def test_sums_of_squares(kernels, dtype, start, gap, length):
    values = torch.linspace(-2, 3, 5 * length, dtype=F64).view(5, length)
    x = SentinelView(5, length, dtype=dtype, start=start, gap=gap).tensor.copy_(values)
    actual = genie_ext.sum_of_squares(x, backend=kernels)
    assert_same_bits(actual, genie_ext.sum_of_squares(x, backend="reference"))


def test_the_module_can_be_asked_for_problems_of_its_kernels(module):
    assert module.cuda_problem() == ""


def test_a_failed_launch_says_why_and_with_which_configuration(module):
    out = torch.empty(3, 3000)
    noise = StepCase().inputs()["noise"]
    arguments = [3, 3000, *native_args.tensor_arguments(out)]
    arguments += [*native_args.noise_arguments(noise), 0]
    no_such_stream = 1
    message = (
        r"normal_fill: launch failed: invalid argument; grid \(3, 3\), block \(256\), "
        "batch 3, elements 3000"
    )
    with pytest.raises(RuntimeError, match=message):
        module.NormalFill(arguments).run_cuda([], 0, no_such_stream)


def test_a_call_runs_on_its_device_and_gives_the_current_one_back(module):
    """The host knows the devices 0 and 1; 0 is current."""
    out = torch.empty(3, 3000)
    noise = StepCase().inputs()["noise"]
    call = module.NormalFill([3, 3000, *native_args.tensor_arguments(out), *native_args.noise_arguments(noise), 0])
    call.run_cuda([], 1, 0)
    assert_same_bits(out, genie_ext.normal_fill(torch.empty(3, 3000), noise=noise, backend="reference"))
    with pytest.raises(RuntimeError, match="cudaSetDevice: invalid device ordinal"):
        call.run_cuda([], 2, 0)
    call.run_cuda([], 0, 0)
