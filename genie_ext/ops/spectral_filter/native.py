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
from .parts import Axis, Products

__all__ = ["run_cpu"]


def run_cpu(call: SpectralFilterCall) -> None:
    """The call arrives checked."""
    products, gains = call.parts.products, call.gains
    if products is not None and gains is not None:
        _C.SpectralFilter(_flattened(call, products, gains)).run_cpu([], torch.get_num_threads())
        return
    if call.out.dtype == call.parts.dtype:
        _filter_into(call.out, call)
    else:
        image = torch.empty_like(call.out, dtype=call.parts.dtype)
        _filter_into(image, call)
        call.out.copy_(round_to(image, call.out.dtype))


def _filter_into(out: Tensor, call: SpectralFilterCall) -> None:
    """out: of the compute dtype; without gains R is 1."""
    if call.noise is not None:
        run_normal_fill(NormalFillCall(out, call.noise, call.draw))
    elif call.z is not None and call.z is not out:
        out.copy_(call.z)
    image = out if out.ndim == 4 else out[:, None]
    space = call.parts.space
    if space is not None and not call.space_last:
        torch.mul(space, image, out=image)
    if call.gains is not None:
        fft.filter_in_place(image, call.gains[0], call.parts)
    if space is not None and call.space_last:
        torch.mul(space, image, out=image)


def _flattened(call: SpectralFilterCall, products: Products, gains: tuple[Tensor, ...]) -> list[int]:
    """In the order of csrc/read_calls.cpp."""
    parts, out = call.parts, call.out
    return [
        *(out.shape[0], out.shape[1] if out.ndim == 4 else 1, *parts.size),
        parts.dtype == torch.float64,
        parts.transform == "dft",
        products.keeps,
        parts.skip_forward,
        call.space_last,
        gains[0].shape[0] == 1,
        parts.space is not None and parts.space.shape[0] == 1,
        *tensor_arguments(call.z),
        *tensor_arguments(out),
        *(number for axis in (*products.rows, *products.columns) for number in _axis_arguments(axis)),
        *(gain.data_ptr() for gain in gains),
        0 if parts.space is None else parts.space.data_ptr(),
        *noise_arguments(call.noise),
        call.draw,
    ]


def _axis_arguments(axis: Axis) -> tuple[int, int, int]:
    return len(axis.matrix), axis.matrix.data_ptr(), axis.transposed.data_ptr()
