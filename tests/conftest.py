"""Backends and devices of this machine, for every test that asks for them."""

from __future__ import annotations

import os

import pytest
import torch

# before triton is imported: it reads the variable when a kernel is decorated
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

# every run of a prepared call is checked whole, unless a test says otherwise
os.environ["GENIE_EXT_CHECK"] = "1"

# of pytest-xdist: one process per core, so one thread in each
if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)

import genie_ext


def native_backends() -> list[str]:
    """Every backend but the reference that can run here."""
    return [name for name in genie_ext.available_backends("fused_step") if name != "reference"]


@pytest.fixture(params=native_backends())
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def device(backend: str) -> str:
    """Where tensors of this backend live."""
    return "cpu" if backend == "cpu" or not torch.cuda.is_available() else "cuda"


@pytest.fixture
def obeys_flush_denormal(backend: str, device: str) -> bool:
    """Whether torch.set_flush_denormal reaches its arithmetic: numpy's, under the interpreter."""
    return backend == "triton" and device == "cpu"
