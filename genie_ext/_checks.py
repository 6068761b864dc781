"""Checks of tensor arguments shared by the ops. Each error names the argument, the value and the fix."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ._autograd import is_transformed

FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def check_float(name: str, tensor: Tensor, dtype: torch.dtype | None = None) -> None:
    allowed = FLOATS if dtype is None else (dtype,)
    if tensor.dtype not in allowed:
        names = " or ".join(str(d) for d in allowed)
        raise TypeError(f"{name}: dtype {tensor.dtype}; need {names}")


def check_shape(name: str, tensor: Tensor, shape: Sequence[int]) -> None:
    if tuple(tensor.shape) != tuple(shape):
        raise ValueError(f"{name}: shape {tuple(tensor.shape)}; need {tuple(shape)}")


def check_same_device(name: str, tensor: Tensor, device: torch.device) -> None:
    if tensor.device != device:
        raise ValueError(f"{name}: on {tensor.device}, but x is on {device}; move one of them")


def check_dense_samples(name: str, tensor: Tensor) -> None:
    """Row-major and gap-free within a sample; the stride between samples is free as long as samples do not overlap."""
    if not is_dense_per_sample(tensor):
        raise ValueError(
            f"{name}: strides {tensor.stride()} for shape {tuple(tensor.shape)}; each sample must be dense in "
            "row-major order (only the stride between samples is free): pass .contiguous()"
        )


def is_dense_per_sample(tensor: Tensor) -> bool:
    if tensor.is_contiguous():
        return True
    inner = 1
    for size, stride in zip(reversed(tensor.shape[1:]), reversed(tensor.stride()[1:]), strict=False):
        if size != 1 and stride != inner:
            return False
        inner *= size
    return tensor.shape[0] == 1 or tensor.stride(0) >= inner


def same_memory(a: Tensor, b: Tensor) -> bool:
    if a is b or not (_has_address(a) and _has_address(b)):
        return a is b
    return a.data_ptr() == b.data_ptr() and a.shape == b.shape and a.stride() == b.stride() and a.dtype == b.dtype


def check_no_overlap(name: str, written: Tensor, other_name: str, other: Tensor) -> None:
    if not (_has_address(written) and _has_address(other)):
        return
    if written.untyped_storage().data_ptr() != other.untyped_storage().data_ptr():
        return
    if _samples_overlap(written, other):
        raise ValueError(
            f"{name}: shares memory with {other_name}; only out is x and aux_out is aux may be the same tensor, "
            "anything else needs memory of its own"
        )


def _has_address(tensor: Tensor) -> bool:
    """Meta tensors and those inside a torch.func transform have no memory that could be shared."""
    return not (tensor.is_meta or is_transformed(tensor))


def _samples_overlap(a: Tensor, b: Tensor) -> bool:
    """Whether two per-sample-dense tensors share a byte. Interleaved halves of one batch do not."""
    a_low, a_high = _byte_range(a)
    b_low, b_high = _byte_range(b)
    if a_high <= b_low or b_high <= a_low or a.numel() == 0 or b.numel() == 0:
        return False
    period = a.stride(0) * a.element_size()
    interleaved = a.ndim > 0 and b.ndim > 0 and period > 0 and period == b.stride(0) * b.element_size()
    if not interleaved:
        return True
    shift = (b_low - a_low) % period
    a_width = a[0].numel() * a.element_size()
    b_width = b[0].numel() * b.element_size()
    return shift < a_width or period - shift < b_width


def _byte_range(tensor: Tensor) -> tuple[int, int]:
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=False))
    return tensor.data_ptr(), tensor.data_ptr() + (last + 1) * tensor.element_size()
