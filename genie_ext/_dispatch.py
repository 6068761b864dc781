"""Which backend runs an op, and why not another.

``auto`` prefers cuda > triton > reference on a GPU and cpu > reference on the CPU; any other device runs on the
reference. As long as no run on a GPU has shown that the CUDA kernels are right, it prefers triton > cuda there, and
says so. An explicit request (argument, ``with use_backend(...)``, the variable GENIE_EXT_BACKEND; in this order) works
or raises.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from types import ModuleType
from typing import Any

import torch

__all__ = [
    "BACKENDS",
    "OPS",
    "VERIFIED_ON_GPU",
    "available_backends",
    "backends",
    "native_module",
    "requested",
    "resolve",
    "use_backend",
]

OPS = ("fused_step", "normal_fill", "jvp_distill_loss", "spectral_filter", "sum_of_squares")
BACKENDS = ("reference", "cpu", "cuda", "triton")
# Of an op without a version for a backend: what is so, and the fix.
_WITHOUT = {
    ("spectral_filter", "cuda"): "there is no CUDA kernel of it; the reference runs torch.fft on the GPU",
    ("spectral_filter", "triton"): "there is no Triton kernel of it; the reference runs torch.fft on the GPU",
    ("sum_of_squares", "triton"): "there is no Triton kernel of it; choose cuda or the reference",
}
# The GPU backends that gave the reference's bits on a GPU, in a report of benchmarks/bit_equality.py that is kept under
# benchmarks/results; tests/ops/test_verified.py holds this to the files there.
VERIFIED_ON_GPU: frozenset[str] = frozenset()
_CALL_LAYOUT = 8  # kCallLayout of csrc/read_calls.h
_requested: ContextVar[str | None] = ContextVar("genie_ext_backend", default=None)

Runner = Callable[[Any], None]


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Run every op in this block on ``name`` ('auto', 'reference', 'cpu', 'cuda' or 'triton'), or raise."""
    _check_name(name, "use_backend")
    token = _requested.set(name)
    try:
        yield
    finally:
        _requested.reset(token)


def requested(backend: str | None) -> str:
    """The backend asked for by argument, block or environment; 'auto' where nobody asked."""
    if name := backend or _requested.get():
        _check_name(name, "backend")
    elif name := os.environ.get("GENIE_EXT_BACKEND"):
        _check_name(name, "GENIE_EXT_BACKEND")
    return name or "auto"


def resolve(op: str, device: torch.device, backend: str | None = None) -> tuple[str, Runner]:
    """The name and the unchecked function ``run(call)`` of the backend for tensors on ``device``."""
    name = requested(backend)
    if name != "auto":
        reason = why_not(name, device, op)
        if reason is not None:
            raise ValueError(f"backend={name!r} cannot run {op} on {device.type} tensors: {reason}")
        return name, _runner(op, name)
    candidates = [name for name in _preferred(device.type) if (op, name) not in _WITHOUT]
    for candidate in candidates:
        if why_not(candidate, device) is None:
            if device.type == "cuda" and candidate not in VERIFIED_ON_GPU:
                _report_unverified(candidate)
            return candidate, _runner(op, candidate)
    _report_fallback(device, tuple(candidates))
    return "reference", _runner(op, "reference")


def why_not(backend: str, device: torch.device, op: str = "") -> str | None:
    """None if ``backend`` can run (this op) on tensors of this device, else the reason and the fix."""
    return _why_not_here(backend, device) or _WITHOUT.get((op, backend))


def _why_not_here(backend: str, device: torch.device) -> str | None:
    if backend == "reference":
        return None
    if backend == "triton":
        return _why_not_triton(device.type)
    if device.type != backend:
        return f"it runs on {backend} tensors only; move the tensors or choose another backend"
    module, reason = _load_native()
    if module is None:
        return reason
    return None if backend == "cpu" else _why_not_cuda(module, device)


def backends() -> dict[str, dict[str, str]]:
    """op -> backend -> 'available', 'available, not verified on a GPU', or the reason why not.

    Each is asked for the backend's own device type; ``available_backends`` names those that can run.
    """
    state = {name: _state(name, torch.device(_home(name))) for name in BACKENDS}
    return {op: {name: _WITHOUT.get((op, name), text) for name, text in state.items()} for op in OPS}


def available_backends(op: str) -> tuple[str, ...]:
    """The backends that can run this op here, verified or not."""
    if op not in OPS:
        raise ValueError(f"op={op!r}; choose {', '.join(OPS)}")
    return tuple(name for name in BACKENDS if why_not(name, torch.device(_home(name)), op) is None)


def _home(backend: str) -> str:
    """The device type that the backend is for."""
    return {"reference": "cpu", "cpu": "cpu", "cuda": "cuda", "triton": _triton_device()}[backend]


def _state(backend: str, device: torch.device) -> str:
    if reason := why_not(backend, device):
        return reason
    verified = device.type != "cuda" or backend in VERIFIED_ON_GPU
    return "available" if verified else "available, not verified on a GPU"


def _preferred(device_type: str) -> tuple[str, ...]:
    if device_type != "cuda":
        return ("cpu",) if device_type == "cpu" else ()
    return ("cuda", "triton") if "cuda" in VERIFIED_ON_GPU else ("triton", "cuda")


def native_module() -> ModuleType | None:
    """The extension module ``genie_ext._C``, or None where it is not built."""
    return _load_native()[0]


@cache
def _load_native() -> tuple[ModuleType | None, str]:
    build = "run 'pip install .' or 'python setup.py build_ext --inplace'"
    try:
        module = importlib.import_module("genie_ext._C")
    except ImportError as error:
        missing = getattr(error, "name", None) == "genie_ext._C"
        cause = "genie_ext._C is not built" if missing else f"genie_ext._C does not load ({error})"
        return None, f"{cause}; {build}"
    if getattr(module, "CALL_LAYOUT", None) != _CALL_LAYOUT:
        return None, f"genie_ext._C is of another version than these sources; rebuild: {build}"
    return module, ""


def _why_not_cuda(module: ModuleType, device: torch.device) -> str | None:
    if not module.built_with_cuda():
        return "genie_ext._C was built without CUDA; rebuild with GENIE_EXT_CUDA=on where nvcc is installed"
    if not torch.cuda.is_available():
        return "no device: torch sees no CUDA GPU"
    index = torch.cuda.current_device() if device.index is None else device.index
    problem = _cuda_problem(module, index)
    if not problem:
        return None
    return (
        f"its kernels, built for {module.cuda_archs()}, do not run on GPU {index}: {problem}; update the "
        "driver, or rebuild with the GPU's architecture in GENIE_EXT_CUDA_ARCHS"
    )


@cache
def _cuda_problem(module: ModuleType, index: int) -> str:
    """What CUDA says of this binary on this GPU: an architecture that was not built, a driver too old; or nothing."""
    with torch.cuda.device(index):
        return module.cuda_problem()


def _why_not_triton(device_type: str) -> str | None:
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed; pip install triton"
    if os.environ.get("TRITON_INTERPRET") == "1":
        return None
    if device_type != "cuda":
        return "it runs on cuda tensors only (or anywhere under TRITON_INTERPRET=1)"
    return None if torch.cuda.is_available() else "no device: torch sees no CUDA GPU"


def _triton_device() -> str:
    return "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"


@cache
def _runner(op: str, backend: str) -> Runner:
    module = "native" if backend in ("cpu", "cuda") else backend
    function = f"run_{backend}" if module == "native" else "run"
    return getattr(importlib.import_module(f"genie_ext.ops.{op}.{module}"), function)


@cache
def _report_fallback(device: torch.device, candidates: tuple[str, ...]) -> None:
    reasons = [f"{name}: {why_not(name, device)}" for name in candidates]
    if reasons:
        warnings.warn(
            f"genie_ext runs on the slow reference backend for {device.type} tensors ({'; '.join(reasons)})",
            stacklevel=4,
        )


@cache
def _report_unverified(backend: str) -> None:
    others = [name for name in ("cuda", "triton") if name != backend]
    warnings.warn(
        f"genie_ext runs on {backend} for cuda tensors, whose kernels no kept run has verified on a GPU; choose with "
        f"backend=, use_backend(...) or GENIE_EXT_BACKEND: {backend}, {others[0]}, or the slow reference. "
        "python -m benchmarks.bit_equality compares them here",
        stacklevel=4,
    )


def _check_name(name: str, argument: str) -> None:
    if name not in ("auto", *BACKENDS):
        raise ValueError(f"{argument}={name!r}; choose auto, {', '.join(BACKENDS)}")
