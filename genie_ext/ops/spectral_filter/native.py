"""spectral_filter in C++: a call is flattened. What is no matrix product runs on the libraries of the reference."""

from __future__ import annotations

import torch
from torch import Tensor

from ... import _C
from ..native_args import noise_arguments, tensor_arguments
from ..normal_fill.contract import NormalFillCall
from ..normal_fill.native import run_cpu as run_normal_fill
from ..rounding import round_to
from . import fft
from .contract import SpectralFilterCall
from .parts import Products

__all__ = ["run_cpu"]


def run_cpu(call: SpectralFilterCall) -> None:
    """The call arrives checked."""
    products, gain = call.parts.products, call.gain
    if products is not None and gain is not None:
        _C.SpectralFilter(_flattened(call, products, gain)).run_cpu([], torch.get_num_threads())
        return
    if call.out.dtype == call.parts.dtype:
        _filter_into(call.out, call, gain)
    else:
        image = torch.empty_like(call.out, dtype=call.parts.dtype)
        _filter_into(image, call, gain)
        call.out.copy_(round_to(image, call.out.dtype))


def _filter_into(out: Tensor, call: SpectralFilterCall, gain: Tensor | None) -> None:
    """out: of the compute dtype; without a gain R is 1."""
    if call.noise is not None:
        run_normal_fill(NormalFillCall(out, call.noise, call.draw))
    elif call.z is not None and call.z is not out:
        out.copy_(call.z)
    image = out if out.ndim == 4 else out[:, None]
    space = call.parts.space
    if space is not None and not call.space_last:
        torch.mul(space, image, out=image)
    if gain is not None:
        fft.filter_in_place(image, gain, call.parts)
    if space is not None and call.space_last:
        torch.mul(space, image, out=image)


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
