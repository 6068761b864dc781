"""spectral_filter in C++: a call is flattened. What is no matrix product runs on the libraries of the reference."""

from __future__ import annotations

import torch
from torch import Tensor

from ... import _C
from ..native_args import noise_arguments, tensor_arguments
from ..normal_fill.contract import NormalFillCall
from ..normal_fill.native import run_cpu as run_normal_fill
from . import reference
from .contract import SpectralFilterCall
from .parts import Products

__all__ = ["run_cpu"]


def run_cpu(call: SpectralFilterCall) -> None:
    """The call arrives checked."""
    products, gain = call.parts.products, call.gain
    if products is not None and gain is not None:
        _C.SpectralFilter(_flattened(call, products, gain)).run_cpu([], torch.get_num_threads())
        return
    if call.z is None and call.noise is not None:
        drawn = call.out if call.out.dtype == call.parts.dtype else torch.empty_like(call.out, dtype=call.parts.dtype)
        run_normal_fill(NormalFillCall(drawn, call.noise, call.draw))
        call = SpectralFilterCall(drawn, call.parts, call.index, call.adjoint, None, 0, call.out)
    reference.run(call)


def _flattened(call: SpectralFilterCall, products: Products, gain: Tensor) -> list[int]:
    """In the order of csrc/read_calls.cpp."""
    parts, out = call.parts, call.out
    height, width = parts.size
    channels = out.shape[1] if out.ndim == 4 else 1
    return [
        *(out.shape[0], channels, height, width, *gain.shape[-2:]),
        parts.dtype == torch.float64,
        products.keeps,
        parts.skip_forward,
        call.space_last,
        gain.shape[0] == 1,
        parts.space is not None and parts.space.shape[0] == 1,
        *tensor_arguments(call.z),
        *tensor_arguments(out),
        *(products.rows.data_ptr(), products.rows_transposed.data_ptr()),
        *(products.columns.data_ptr(), products.columns_transposed.data_ptr()),
        gain.data_ptr(),
        _address(parts.space),
        *noise_arguments(call.noise),
        call.draw,
    ]


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()
