"""fused_step in C++ and CUDA: a call is flattened, and looked at in the same pass."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ... import _C
from ..._torch_private import cuda_stream_of
from ..native_args import noise_arguments, sample_arguments
from ..native_prepared import NativePrepared, NativeSlot
from ..noise import is_regular_noise, is_regular_vector
from ..slots import slots_in
from .contract import FusedStepCall

__all__ = ["prepare", "run_cpu", "run_cuda"]


def run_cpu(call: FusedStepCall) -> None:
    """The call arrives checked."""
    _C.FusedStep(_flattened(call)[0]).run_cpu([], torch.get_num_threads())


def run_cuda(call: FusedStepCall) -> None:
    """The call arrives checked."""
    index = call.x.device.index
    _C.FusedStep(_flattened(call)[0]).run_cuda([], index, cuda_stream_of(index))


def prepare(
    call: FusedStepCall, backend: str, check: Callable[[FusedStepCall], None], *, check_each: bool
) -> NativePrepared:
    """A call that ``check`` would pass; it is asked only where a quick look finds something out of the ordinary."""
    try:
        arguments, regular = _flattened(call)
        native = _C.FusedStep(arguments)
        if not regular or not native.is_regular():
            check(call)
    except Exception:
        check(call)  # it knows the argument's name
        raise
    output_slots, draw_slots = slots_in(call.outputs), slots_in(call.draws)
    slots = [NativeSlot(f"outputs[{i}]", 1 + i) for i in output_slots]
    slots += [NativeSlot(f"draws[{i}]", 1 + len(call.outputs) + i) for i in draw_slots]
    slots.append(NativeSlot("x", 0))
    slots[-1].accept(call.x)
    return NativePrepared(
        "fused_step",
        backend,
        call,
        native,
        call.x.device,
        check if check_each else None,
        slots,
        len(output_slots),
        len(draw_slots),
    )


def _flattened(call: FusedStepCall) -> tuple[list[int], bool]:
    """In the order of csrc/read_calls.cpp, and whether it is as regular as can be seen without comparing memory."""
    x, row, nonfinite, noise = call.x, call.row, call.nonfinite, call.noise
    batch = x.shape[0]
    tensors = (x, call.aux, call.out, call.aux_out, call.x_in, *call.stored, *call.history, *call.outputs, *call.draws)
    samples, regular = sample_arguments(tensors, x)
    arguments = [
        batch,
        x.numel() // batch,
        x.dtype == torch.float64,
        row.data_ptr(),
        row.stride(0) if row.ndim == 2 else 0,
        row.shape[-1],
        nonfinite is not None,
        0 if nonfinite is None else nonfinite.data_ptr(),
        *noise_arguments(noise),
        len(call.outputs),
        call.converted,
        len(call.history),
        len(call.draws),
        *samples,
        *(draw if type(draw) is int else 0 for draw in call.draws),
    ]
    regular = (
        regular
        and len(call.stored) == call.converted
        and _is_regular_row(call)
        and (noise is None or is_regular_noise(noise, x))
        and (nonfinite is None or is_regular_vector(nonfinite, batch, torch.int32, x.device))
        and all(_is_regular_draw(draw, call) for draw in call.draws)
    )
    return arguments, regular


def _is_regular_row(call: FusedStepCall) -> bool:
    row, x = call.row, call.x
    return (
        type(row) is Tensor
        and row.dtype is call.compute_dtype
        and (row.ndim == 1 or (row.ndim == 2 and row.shape[0] == x.shape[0]))
        and row.is_contiguous()
        and row.device == x.device
        and not row.is_neg()
    )


def _is_regular_draw(draw: object, call: FusedStepCall) -> bool:
    return type(draw) is not int or (0 <= draw < 2**32 and call.noise is not None)
