"""jvp_distill_loss in C++ and CUDA. The call arrives checked; this only flattens it."""

from __future__ import annotations

import torch

from ... import _C
from ..native_args import tensor_arguments
from .contract import JvpDistillLossCall

__all__ = ["run_cpu", "run_cuda"]


def run_cpu(call: JvpDistillLossCall) -> None:
    _C.jvp_distill_loss_cpu(_arguments(call), torch.get_num_threads())


def run_cuda(call: JvpDistillLossCall) -> None:
    device = call.maps.device
    with torch.cuda.device(device):
        _C.jvp_distill_loss_cuda(_arguments(call), torch.cuda.current_stream(device).cuda_stream)


def _arguments(call: JvpDistillLossCall) -> list[int]:
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
