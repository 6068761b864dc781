"""Which backend runs: what is there must be used, an explicit choice works or raises."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

import genie_ext
from genie_ext import resolve, use_backend

CPU = torch.device("cpu")
OPS = ["fused_step", "normal_fill"]


@pytest.mark.skipif(os.environ.get("GENIE_EXT_BUILD") == "0", reason="a pure Python install")
@pytest.mark.parametrize("op", OPS)
def test_the_cpu_backend_is_loaded(op):
    assert genie_ext.backends()[op]["cpu"] == "available"
    assert resolve(op, CPU)[0] == "cpu"


@pytest.mark.skipif(torch.cuda.is_available(), reason="compiled here, not interpreted")
@pytest.mark.parametrize("op", OPS)
def test_triton_runs_under_its_interpreter(op):
    assert genie_ext.backends()[op]["triton"] == "available"


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


def test_genie_ext_imports_without_triton():
    blocked = "import sys; sys.modules['triton'] = None; import genie_ext; print(genie_ext.backends())"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", blocked.replace("print", "assert 'triton' in str")]
    subprocess.run(command, env=environment, check=True)


def test_importing_genie_ext_does_not_import_triton():
    check = "import sys, genie_ext; sys.exit('triton' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", check], env=environment, check=True)
