"""Backends and devices of this machine, for every test that asks for them."""

from __future__ import annotations

import gc
import os
from collections.abc import Generator, Iterator
from importlib.util import find_spec
from typing import Any

import pytest

# of pytest-xdist: one process per core, so one thread in each, and in what each starts
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"

import torch

# before triton is imported: it reads the variable when a kernel is decorated
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

# every run of a prepared call is checked whole, unless a test says otherwise
os.environ["GENIE_EXT_CHECK"] = "1"

import genie_ext

from .covering import mark_products
from .forked import ForkServer


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long files first, so that none of them is left to run alone; products marked before marks are looked at."""
    mark_products(items)
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """The tests are made to stay: no search for garbage looks at them, then or later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_sessionfinish() -> None:
    gc.unfreeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With ``-n`` alone: a file to one process, which makes what its tests share once; in the order of the list."""
    if config.getvalue("dist") != "load":
        return None
    from xdist.scheduler import LoadFileScheduling

    config.option.loadscopereorder = False
    return LoadFileScheduling(config, log)


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


@pytest.fixture(scope="session")
def programs() -> Iterator[ForkServer]:
    """Runs programs in processes of their own that need not import torch and diffusers."""
    server = ForkServer(*(["diffusers.models.unets.unet_2d"] if find_spec("diffusers") else []))
    yield server
    server.close()
