"""Memory for the gradient, which the op makes anew in each call."""

from __future__ import annotations

import torch
from torch import Tensor

from ..._dispatch import native_module

__all__ = ["empty_gradient"]

_LARGE = 2**21  # bytes of a huge page


def empty_gradient(maps: Tensor) -> Tensor:
    """Contiguous, like maps. A large one on the CPU takes memory that an earlier one gave back: csrc/common/pages.h."""
    native = native_module() if maps.is_cpu and maps.nbytes >= _LARGE else None
    if native is None:
        return torch.empty_like(maps, memory_format=torch.contiguous_format)
    return torch.frombuffer(native.Pages(maps.nbytes), dtype=maps.dtype, count=maps.numel()).view(maps.shape)
