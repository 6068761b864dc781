"""normal_fill in C++ and CUDA: a call is flattened."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ... import _C
from ..._torch_private import cuda_stream_of
from ..native_args import noise_arguments, tensor_arguments
from ..native_prepared import NativePrepared
from .contract import NormalFillCall

__all__ = ["prepare", "run_cpu", "run_cuda"]


def run_cpu(call: NormalFillCall) -> None:
    """The call arrives checked."""
    _C.NormalFill(_flattened(call)).run_cpu([], torch.get_num_threads())


def run_cuda(call: NormalFillCall) -> None:
    """The call arrives checked."""
    index = call.out.device.index
    _C.NormalFill(_flattened(call)).run_cuda([], index, cuda_stream_of(index))


def prepare(
    call: NormalFillCall, backend: str, check: Callable[[NormalFillCall], None], *, check_each: bool
) -> NativePrepared:
    check(call)
    native = _C.NormalFill(_flattened(call))
    return NativePrepared("normal_fill", backend, call, native, call.out.device, check if check_each else None)


def _flattened(call: NormalFillCall) -> list[int]:
    """In the order of csrc/read_calls.cpp."""
    out = call.out
    batch = out.shape[0]
    return [
        batch,
        out.numel() // batch,
        *tensor_arguments(out),
        *noise_arguments(call.noise),
        call.draw,
    ]
