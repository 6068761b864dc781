"""Which backend runs: what is there must be used, an explicit choice works or raises."""

from __future__ import annotations

import os
import re
import subprocess
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext

import pytest
import torch

import genie_ext
from genie_ext import _dispatch, use_backend
from genie_ext._dispatch import resolve

from ..forked import ForkServer

CPU = torch.device("cpu")
OPS = ["fused_step", "normal_fill", "jvp_distill_loss", "spectral_filter", "sum_of_squares"]
IN_TRITON = OPS[:3]


@pytest.mark.skipif(os.environ.get("GENIE_EXT_BUILD") == "0", reason="a pure Python install")
@pytest.mark.parametrize("op", OPS)
def test_the_cpu_backend_is_loaded(op):
    assert genie_ext.backends()[op]["cpu"] == "available"
    assert resolve(op, CPU)[0] == "cpu"


@pytest.mark.skipif(torch.cuda.is_available(), reason="compiled here, not interpreted")
@pytest.mark.parametrize("op", IN_TRITON)
def test_triton_runs_under_its_interpreter(op):
    assert genie_ext.backends()[op]["triton"] == "available"


WITHOUT = [("spectral_filter", "cuda"), ("spectral_filter", "triton"), ("sum_of_squares", "triton")]


@pytest.mark.parametrize("op, backend", WITHOUT)
def test_an_op_without_a_kernel_says_so(op, backend):
    assert re.search(r"there is no (CUDA|Triton) kernel of it; .*reference", genie_ext.backends()[op][backend])
    assert backend not in genie_ext.available_backends(op)


@pytest.mark.skipif(torch.cuda.is_available(), reason="compiled here, not interpreted")
@pytest.mark.parametrize("op", ["spectral_filter", "sum_of_squares"])
def test_asking_for_it_is_refused(op):
    with pytest.raises(ValueError, match=rf"backend='triton' cannot run {op} on cpu .*there is no Triton kernel"):
        resolve(op, CPU, "triton")


def test_unknown_backend():
    with pytest.raises(ValueError, match=r"backend='gpu'; choose auto, reference, cpu, cuda, triton"):
        resolve("fused_step", CPU, "gpu")


def test_unknown_backend_of_a_block():
    with pytest.raises(ValueError, match=r"use_backend='gpu'; choose auto"), use_backend("gpu"):
        pass


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("backend", ["cpu", "cuda"])
def test_backend_of_another_device(op, backend):
    with pytest.raises(ValueError, match=rf"backend='{backend}' cannot run {op} on meta .*move"):
        resolve(op, torch.device("meta"), backend)


def test_other_devices_run_on_the_reference():
    assert resolve("fused_step", torch.device("meta"))[0] == "reference"


def test_a_block_chooses_and_an_argument_overrides_it():
    with use_backend("reference"):
        assert resolve("fused_step", CPU)[0] == "reference"
        assert resolve("fused_step", CPU, "triton")[0] == "triton"
    assert resolve("fused_step", CPU)[0] != "reference"


def test_the_environment_chooses(monkeypatch):
    monkeypatch.setenv("GENIE_EXT_BACKEND", "reference")
    assert resolve("fused_step", CPU)[0] == "reference"


def test_an_unknown_backend_of_the_environment_names_the_variable(monkeypatch):
    monkeypatch.setenv("GENIE_EXT_BACKEND", "gpu")
    with pytest.raises(ValueError, match=r"GENIE_EXT_BACKEND='gpu'; choose auto"):
        resolve("fused_step", CPU)


@pytest.fixture(scope="module")
def run_python() -> Iterator[Callable[[str], subprocess.CompletedProcess[str]]]:
    """Runs code where nothing of this project is imported yet."""
    server = ForkServer()
    yield lambda code: server.run(f"import sys, warnings; warnings.simplefilter('always'); {code}")
    server.close()


def test_genie_ext_runs_without_triton(run_python):
    code = "sys.modules['triton'] = None; import genie_ext; print(genie_ext.backends()['fused_step']['triton'])"
    assert run_python(code).stdout == "triton is not installed; pip install triton\n"


def test_importing_genie_ext_does_not_import_triton(run_python):
    assert run_python("import genie_ext; sys.exit('triton' in sys.modules)").returncode == 0


def test_a_checkout_that_is_not_built_warns_once_and_names_the_fix(run_python):
    warned = run_python(
        "sys.modules['genie_ext._C'] = None; import torch, genie_ext; x, row = torch.ones(1, 2), torch.ones(2); "
        "genie_ext.fused_step(x, row=row, converted=0); print(genie_ext.fused_step(x, row=row, converted=0).out[0])"
    )
    assert warned.stdout == "tensor([1., 1.])\n"
    assert warned.stderr.count("slow reference backend for cpu tensors") == 1
    assert "genie_ext._C is not built; run 'pip install .'" in warned.stderr


def test_a_module_of_another_version_is_not_called(run_python):
    state = run_python(
        "import types; stale = sys.modules['genie_ext._C'] = types.ModuleType('_C'); stale.CALL_LAYOUT = -1; "
        "import genie_ext; print(genie_ext.backends()['fused_step']['cpu'])"
    )
    assert state.stdout.startswith("genie_ext._C is of another version than these sources; rebuild")


def test_the_module_is_of_the_version_of_the_sources():
    _C = pytest.importorskip("genie_ext._C", reason="the native core is not built")
    assert _C.CALL_LAYOUT == _dispatch._CALL_LAYOUT


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_machine_without_gpu_is_named_as_the_reason():
    module = _dispatch.native_module()
    if module is None or not module.built_with_cuda():
        pytest.skip("the native core is built without CUDA")
    assert genie_ext.backends()["fused_step"]["cuda"] == "no device: torch sees no CUDA GPU"


@pytest.fixture
def gpu_of_another_architecture(monkeypatch):
    """What _dispatch sees of a GPU for which this module holds no kernels; it has never met one."""
    module = types.ModuleType("_C")
    no_kernel = "no kernel image is available for execution on the device"
    answers = {"built_with_cuda": True, "cuda_problem": no_kernel, "cuda_archs": "80-real,90-real"}
    vars(module).update({name: lambda answer=answer: answer for name, answer in answers.items()})
    monkeypatch.setattr(_dispatch, "_load_native", lambda: (module, ""))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device", lambda index: nullcontext())
    return torch.device("cuda:0")


def test_kernels_of_another_architecture_are_named_with_the_fix(gpu_of_another_architecture):
    with pytest.raises(ValueError, match=r"80-real,90-real.*GPU 0: no kernel image.*GENIE_EXT_CUDA_ARCHS"):
        resolve("fused_step", gpu_of_another_architecture, "cuda")


def test_another_architecture_runs_on_triton(gpu_of_another_architecture):
    assert resolve("fused_step", gpu_of_another_architecture)[0] == "triton"


def test_an_op_without_kernels_for_gpus_runs_on_the_reference_without_a_word(gpu_of_another_architecture):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert resolve("spectral_filter", gpu_of_another_architecture)[0] == "reference"
