"""Checks of arguments shared by the ops. Each error names the argument, the value and the fix.

Those that look at the Python type return the value, so that a call is built from checked values only.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ._torch_private import is_fake, is_function_wrapper

FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def check_tensor(name: str, value: object, allowed: str = "a torch.Tensor") -> Tensor:
    if not isinstance(value, Tensor):
        raise TypeError(f"{name}: {_shown(value)}; pass {allowed}")
    return value


def check_optional_tensor(name: str, value: object, allowed: str = "a torch.Tensor or None") -> Tensor | None:
    return None if value is None else check_tensor(name, value, allowed)


def check_sequence(name: str, value: object) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)) and (isinstance(value, str) or not isinstance(value, Sequence)):
        raise TypeError(f"{name}: {_shown(value)}; pass a list or tuple")
    return tuple(value)


def check_integer(name: str, value: Any) -> int:
    """A Python int of anything that is one, such as numpy's."""
    if type(value) is int:
        return value
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: {_shown(value)}; pass an integer") from None


def check_word(name: str, value: int) -> None:
    if not 0 <= value < 2**32:
        raise ValueError(f"{name}: {value}; need an integer in 0..2^32-1")


def _shown(value: object) -> str:
    text = " ".join(repr(value).split())
    return f"{text if len(text) <= 40 else text[:37] + '...'} of type {type(value).__name__}"


def check_strided(name: str, tensor: Tensor) -> None:
    if tensor.is_nested:
        raise TypeError(f"{name}: a nested tensor; pass torch.nested.to_padded_tensor({name}, 0.0)")
    if tensor.layout != torch.strided:
        raise TypeError(f"{name}: layout {tensor.layout}; pass .to_dense()")


def check_memory(name: str, tensor: Tensor) -> None:
    """A plain array of the values themselves: the native backends read memory, not what a view makes of it."""
    check_strided(name, tensor)
    if tensor.is_neg():
        raise ValueError(f"{name}: a view with the negative bit, its memory holds -{name}; pass .resolve_neg()")
    if torch.compiler.is_compiling() or not _has_memory(tensor):
        return
    address = address_of(tensor)
    if address == 0:
        raise ValueError(
            f"{name}: shape {tuple(tensor.shape)} without memory (a zero tangent, a fake tensor or a storage that was "
            "freed); pass a tensor that holds its values, of a zero tangent torch.zeros"
        )
    if address % tensor.element_size():
        raise ValueError(
            f"{name}: begins at the address {address:#x}, which is no multiple of the {tensor.element_size()} bytes of "
            f"{tensor.dtype}; pass {name}.clone()"
        )


def address_of(tensor: Tensor) -> int:
    """Of the first element; 0 where there is no memory."""
    try:
        return 0 if is_fake(tensor) else tensor.data_ptr()
    except RuntimeError:  # what torch raises of a tensor without storage
        return 0


def memory_of(*tensors: Tensor) -> list[int]:
    """The address of each one's first element, 0 where it has none; another one after ``tensor.data = ...``."""
    return [address_of(tensor) for tensor in tensors]


def check_float(name: str, tensor: Tensor, dtype: torch.dtype | None = None) -> None:
    allowed = FLOATS if dtype is None else (dtype,)
    if tensor.dtype not in allowed:
        names = " or ".join(str(d) for d in allowed)
        raise TypeError(f"{name}: dtype {tensor.dtype}; need {names}")


def check_shape(name: str, tensor: Tensor, shape: Sequence[int]) -> None:
    if tuple(tensor.shape) != tuple(shape):
        raise ValueError(f"{name}: shape {tuple(tensor.shape)}; need {tuple(shape)}")


def check_same_device(name: str, tensor: Tensor, device: torch.device, other: str = "x") -> None:
    if tensor.device != device:
        raise ValueError(f"{name}: on {tensor.device}, but {other} is on {device}; move one of them")


def check_dense_samples(name: str, tensor: Tensor) -> None:
    """Row-major and gap-free within a sample; the stride between samples is free as long as samples do not overlap."""
    if not is_dense_per_sample(tensor):
        raise ValueError(
            f"{name}: strides {tensor.stride()} for shape {tuple(tensor.shape)}; each sample must be dense in "
            "row-major order, the stride between samples is free and at least one sample long: pass .contiguous()"
        )


def check_samples(name: str, tensor: Tensor) -> None:
    """[B, ...] of a float dtype with at least one sample, each dense: what an op reads or fills sample by sample."""
    check_memory(name, tensor)
    check_float(name, tensor)
    if tensor.ndim < 1 or tensor.shape[0] < 1:
        raise ValueError(f"{name}: shape {tuple(tensor.shape)}; need [B, ...] with at least one sample")
    check_dense_samples(name, tensor)


def check_like(name: str, tensor: Tensor, like: Tensor, dtype: torch.dtype | None, other: str = "x") -> None:
    """Of the shape and on the device of ``like``, called ``other``; of this dtype, None for any float."""
    check_memory(name, tensor)
    check_shape(name, tensor, like.shape)
    check_float(name, tensor, dtype)
    check_dense_samples(name, tensor)
    check_same_device(name, tensor, like.device, other)


def is_dense_per_sample(tensor: Tensor) -> bool:
    if tensor.is_contiguous():
        return True
    inner = 1
    for size, stride in zip(reversed(tensor.shape[1:]), reversed(tensor.stride()[1:]), strict=False):
        if size != 1 and stride != inner:
            return False
        inner *= size
    return tensor.shape[0] == 1 or tensor.stride(0) >= inner


class Region(NamedTuple):
    """A tensor and the bytes from its first to its last element."""

    name: str
    tensor: Tensor
    low: int
    high: int


def regions(named: Iterable[tuple[str, Tensor | None]]) -> list[Region]:
    """Those tensors that are there and have memory; by address, since two storages may hold the same memory."""
    return [_region(name, tensor) for name, tensor in named if tensor is not None and _has_memory(tensor)]


def may_overlap(a: Region, b: Region) -> bool:
    return a.low < b.high and b.low < a.high


def check_no_overlap(written: Region, other: Region, exceptions: str = "") -> None:
    if may_overlap(written, other) and _samples_overlap(written, other):
        raise ValueError(f"{written.name}: shares memory with {other.name}; it needs memory of its own{exceptions}")


def check_apart(
    written: Iterable[tuple[str, Tensor | None]],
    read: Iterable[tuple[str, Tensor | None]],
    *,
    in_place: str = "",
    exceptions: str = "",
) -> None:
    """Nothing that is written shares memory with anything that is read, but may be exactly what ``in_place`` names."""
    of_read = regions(read)
    for target in regions(written):
        for source in of_read:
            if source.name != in_place or not same_memory(target.tensor, source.tensor):
                check_no_overlap(target, source, exceptions)


def same_memory(a: Tensor, b: Tensor) -> bool:
    if a is b:
        return True
    strides = slice(1 if a.shape[0] == 1 else 0, None)  # of one sample the first is never used
    same_layout = a.shape == b.shape and a.stride()[strides] == b.stride()[strides] and a.dtype == b.dtype
    return same_layout and a.data_ptr() == b.data_ptr()


def _has_memory(tensor: Tensor) -> bool:
    """Not those on meta and those inside a torch.func transform; those of no elements need none."""
    return not (tensor.is_meta or is_function_wrapper(tensor)) and tensor.numel() > 0


def _region(name: str, tensor: Tensor) -> Region:
    low = tensor.data_ptr()
    if tensor.is_contiguous():
        return Region(name, tensor, low, low + tensor.nbytes)
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return Region(name, tensor, low, low + (last + 1) * tensor.element_size())


def _samples_overlap(a: Region, b: Region) -> bool:
    """Whether two per-sample-dense tensors share a byte within their ranges. Interleaved halves of one batch do not."""
    if a.tensor.device != b.tensor.device:
        return False
    period = _bytes_between_samples(a.tensor)
    if period == 0 or period != _bytes_between_samples(b.tensor):
        return True
    shift = (b.low - a.low) % period
    a_width, b_width = (t[0].numel() * t.element_size() for t in (a.tensor, b.tensor))
    return shift < a_width or period - shift < b_width


def _bytes_between_samples(tensor: Tensor) -> int:
    return tensor.stride(0) * tensor.element_size()
