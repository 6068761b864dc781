"""jvp_distill_loss in C++ and CUDA: a call arrives checked and is flattened."""

from __future__ import annotations

import torch

from ... import _C
from ..._torch_private import cuda_stream_of
from ..native_args import tensor_arguments
from .contract import JvpDistillLossCall

__all__ = ["run_cpu", "run_cuda"]


def run_cpu(call: JvpDistillLossCall) -> None:
    _C.JvpDistillLoss(_flattened(call)).run_cpu([], torch.get_num_threads())


def run_cuda(call: JvpDistillLossCall) -> None:
    index = call.maps.device.index
    _C.JvpDistillLoss(_flattened(call)).run_cuda([], index, cuda_stream_of(index))


def _flattened(call: JvpDistillLossCall) -> list[int]:
    """In the order of csrc/read_calls.cpp."""
    batch = call.maps.shape[0]
    return [
        batch,
        call.target.numel() // batch,
        call.losses.dtype == torch.float64,
        call.mean,
        *tensor_arguments(call.maps),
        *tensor_arguments(call.target),
        *tensor_arguments(call.gamma),
        *tensor_arguments(call.weights),
        *tensor_arguments(call.gradient),
        call.scratch.data_ptr(),
        call.losses.data_ptr(),
        call.total.data_ptr(),
    ]
