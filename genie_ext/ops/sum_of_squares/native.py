"""sum_of_squares in C++ and CUDA: a call is flattened."""

from __future__ import annotations

import torch
from torch import Tensor

from ... import _C
from ..._torch_private import cuda_stream_of
from ..native_args import tensor_arguments
from ..tree_sum import SUM_BLOCK
from .contract import SumOfSquaresCall

__all__ = ["run_cpu", "run_cuda"]


def run_cpu(call: SumOfSquaresCall) -> None:
    """The call arrives checked."""
    partials = _partials(call)
    _C.SumOfSquares(_flattened(call, partials)).run_cpu([], torch.get_num_threads())


def run_cuda(call: SumOfSquaresCall) -> None:
    """The call arrives checked."""
    index = call.out.device.index
    partials = _partials(call)
    _C.SumOfSquares(_flattened(call, partials)).run_cuda([], index, cuda_stream_of(index))


def _partials(call: SumOfSquaresCall) -> Tensor:
    """What the sums of the blocks are left in."""
    batch = call.x.shape[0]
    return call.out.new_empty(batch * -(-(call.x.numel() // batch) // SUM_BLOCK))


def _flattened(call: SumOfSquaresCall, partials: Tensor) -> list[int]:
    """In the order of csrc/read_calls.cpp."""
    batch = call.x.shape[0]
    return [batch, call.x.numel() // batch, *tensor_arguments(call.x), partials.data_ptr(), call.out.data_ptr()]
