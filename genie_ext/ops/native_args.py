"""How a call crosses into ``genie_ext._C``: a flat list of integers, as csrc/read_calls.cpp reads it."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from .noise import Noise
from .slots import SLOT

__all__ = ["noise_arguments", "sample_arguments", "tensor_arguments"]

# genie::DType in csrc/common/tensor.h; another dtype is refused there
_CODES = {torch.float32: 0, torch.float64: 1, torch.float16: 2, torch.bfloat16: 3}
_UNKNOWN = -2
_ABSENT = (0, 0, -1)
_SLOT = (0, 0, 0)  # present, its memory is not known yet


def tensor_arguments(tensor: Tensor | None) -> tuple[int, int, int]:
    """Address, elements between samples, dtype."""
    if tensor is None:
        return _ABSENT
    return tensor.data_ptr(), tensor.stride(0), _CODES.get(tensor.dtype, _UNKNOWN)


def sample_arguments(tensors: Iterable[Tensor | int | None], x: Tensor) -> tuple[list[int], bool]:
    """``tensor_arguments`` of each, and whether all are plain, contiguous tensors like x; an integer is absent."""
    shape, device, elements = x.shape, x.device, x.numel() // x.shape[0]
    arguments: list[int] = []
    regular = True
    for tensor in tensors:
        if tensor is None or isinstance(tensor, int):
            arguments += _ABSENT
        elif tensor is SLOT:
            arguments += _SLOT
        else:
            address, contiguous = tensor.data_ptr(), tensor.is_contiguous()
            arguments += (address, elements if contiguous else tensor.stride(0), _CODES.get(tensor.dtype, _UNKNOWN))
            if not (
                contiguous
                and address
                and type(tensor) is Tensor
                and tensor.shape == shape
                and tensor.device == device
                and not tensor.is_neg()
            ):
                regular = False
    return arguments, regular


def noise_arguments(noise: Noise | None) -> tuple[int, int, int]:
    """Addresses of the seed and the sample ids, stream number."""
    if noise is None:
        return 0, 0, 0
    return noise.seed.data_ptr(), noise.sample_ids.data_ptr(), noise.stream
