"""normal_fill in C++ and CUDA. The call arrives checked; this only flattens it."""

from __future__ import annotations

import torch

from ... import _C
from ..native_args import noise_arguments, tensor_arguments
from .contract import NormalFillCall

__all__ = ["run_cpu", "run_cuda"]


def run_cpu(call: NormalFillCall) -> None:
    _C.normal_fill_cpu(_arguments(call), torch.get_num_threads())


def run_cuda(call: NormalFillCall) -> None:
    device = call.out.device
    with torch.cuda.device(device):
        _C.normal_fill_cuda(_arguments(call), torch.cuda.current_stream(device).cuda_stream)


def _arguments(call: NormalFillCall) -> list[int]:
    out = call.out
    batch = out.shape[0]
    return [
        batch,
        out.numel() // batch,
        *tensor_arguments(out),
        *noise_arguments(call.noise),
        call.draw,
    ]
