"""fused_step in C++ and CUDA. The call arrives checked; this only flattens it."""

from __future__ import annotations

import torch
from torch import Tensor

from ... import _C
from ..native_args import noise_arguments, tensor_arguments
from .contract import FusedStepCall

__all__ = ["run_cpu", "run_cuda"]


def run_cpu(call: FusedStepCall) -> None:
    _C.fused_step_cpu(_arguments(call), torch.get_num_threads())


def run_cuda(call: FusedStepCall) -> None:
    device = call.x.device
    with torch.cuda.device(device):
        _C.fused_step_cuda(_arguments(call), torch.cuda.current_stream(device).cuda_stream)


def _arguments(call: FusedStepCall) -> list[int]:
    x, row, nonfinite = call.x, call.row, call.nonfinite
    batch = x.shape[0]
    arguments = [
        batch,
        x.numel() // batch,
        x.dtype == torch.float64,
        row.data_ptr(),
        row.stride(0) if row.ndim == 2 else 0,
        0 if nonfinite is None else nonfinite.data_ptr(),
        *noise_arguments(call.noise),
        len(call.outputs),
        call.converted,
        len(call.history),
        len(call.draws),
    ]
    states = (x, call.aux, call.out, call.aux_out, call.x_in)
    for tensor in (*states, *call.stored, *call.outputs, *call.history):
        arguments += tensor_arguments(tensor)
    for draw in call.draws:
        external = isinstance(draw, Tensor)
        arguments += tensor_arguments(draw if external else None)
        arguments.append(0 if external else draw)
    return arguments
