"""Every use of names that torch does not publish, in one place: what to look at when torch changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch._C import _autograd, _functorch  # pyright: ignore[reportAttributeAccessIssue]
from torch._subclasses.fake_tensor import FakeTensor
from torch.autograd import forward_ad
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode, _pop_mode_temporarily

__all__ = [
    "TorchDispatchMode",
    "all_times_written",
    "count_write",
    "cuda_stream_of",
    "current_dispatch_mode",
    "forward_gradients_enabled",
    "in_dual_level",
    "in_function_transform",
    "is_fake",
    "is_function_wrapper",
    "keeps_graph",
    "times_written",
    "without_innermost_mode",
]

_raw_stream: Any = getattr(torch._C, "_cuda_getCurrentRawStream", None)  # absent in builds without CUDA


def in_dual_level() -> bool:
    """Whether tensors may carry tangents now."""
    return forward_ad._current_level >= 0


def in_function_transform() -> bool:
    """Whether this runs inside torch.func.grad, jvp, vmap, ..."""
    return _functorch.maybe_current_level() is not None


def forward_gradients_enabled() -> bool:
    """Whether torch makes tangents of what it computes now."""
    return torch._C._is_fwd_grad_enabled()


current_dispatch_mode = _get_current_dispatch_mode
"""The innermost TorchDispatchMode, or None."""
without_innermost_mode = _pop_mode_temporarily
"""A context without it."""


def is_function_wrapper(tensor: Tensor) -> bool:
    """Whether the tensor is inside a torch.func transform; it then has no memory of its own."""
    return _functorch.is_functorch_wrapped_tensor(tensor)


def is_fake(tensor: Tensor) -> bool:
    """Whether the tensor has a shape and a device, but no memory (FakeTensorMode, torch.export)."""
    return isinstance(tensor, FakeTensor)


def keeps_graph() -> bool:
    """Inside a backward pass: whether another one may follow over the same graph."""
    return _autograd._get_current_graph_task_keep_graph()


def times_written(tensor: Tensor) -> int:
    """How often the tensor's values were written; 0 for inference tensors, which do not count."""
    try:
        return tensor._version
    except RuntimeError:  # of an inference tensor; asking it first takes as long again
        return 0


def all_times_written(tensors: Sequence[Tensor]) -> list[int]:
    """``times_written`` of each, quickly."""
    try:
        return [tensor._version for tensor in tensors]
    except RuntimeError:  # an inference tensor among them
        return [times_written(tensor) for tensor in tensors]


count_write = torch._C._increment_version
"""Tell autograd that these tensors, a tuple, were written; what torch.autograd.graph.increment_version ends in."""


def cuda_stream_of(device: int) -> int:
    """The handle of the current CUDA stream; torch's own getter spares an object per call."""
    if _raw_stream is not None:
        return _raw_stream(device)
    return torch.cuda.current_stream(device).cuda_stream
