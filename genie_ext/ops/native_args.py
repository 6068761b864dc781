"""How a call crosses into ``genie_ext._C``: a flat list of integers, as csrc/bindings.cpp reads."""

from __future__ import annotations

import torch
from torch import Tensor

from .noise import Noise

__all__ = ["noise_arguments", "tensor_arguments"]

# genie::DType in csrc/common/tensor.h
_CODES = {torch.float32: 0, torch.float64: 1, torch.float16: 2, torch.bfloat16: 3}
_ABSENT = (0, 0, 0)


def tensor_arguments(tensor: Tensor | None) -> tuple[int, int, int]:
    """Address, elements between samples, dtype."""
    if tensor is None:
        return _ABSENT
    return tensor.data_ptr(), tensor.stride(0), _CODES[tensor.dtype]


def noise_arguments(noise: Noise | None) -> tuple[int, int, int]:
    """Addresses of the seed and the sample ids, stream number."""
    if noise is None:
        return 0, 0, 0
    return noise.seed.data_ptr(), noise.sample_ids.data_ptr(), noise.stream
