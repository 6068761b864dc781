"""Tangents by backward kernels: the Jacobians of normalisation, softmax and pointwise functions are symmetric.

So the kernel that pulls a gradient back also pushes a tangent forward, in one pass over memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["gelu", "group_norm", "layer_norm", "normal_group_tangent", "silu", "softmax"]

_aten: Any = torch.ops.aten


def silu(tangent: Tensor, x: Tensor, inplace: bool = False) -> Tensor:
    """Here and below: tangent and argument of the function of this name, then its settings."""
    return _aten.silu_backward(tangent, x)


def gelu(tangent: Tensor, x: Tensor, approximate: str = "none") -> Tensor:
    return _aten.gelu_backward(tangent, x, approximate=approximate)


def group_norm(
    tangent: Tensor, x: Tensor, groups: int, weight: Tensor | None = None, bias: Any = None,
    eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    x = x.contiguous()
    sizes = (len(x), x.shape[1], x[0, 0].numel(), groups)
    _, mean, rstd = torch.native_group_norm(x, None, None, *sizes, eps)
    return normal_group_tangent(tangent, x, mean, rstd, groups, weight)


def normal_group_tangent(
    tangent: Tensor, x: Tensor, mean: Tensor, rstd: Tensor, groups: int, weight: Tensor | None
) -> Tensor:
    """That of group_norm from its statistics; x is contiguous."""
    sizes = (len(x), x.shape[1], x[0, 0].numel(), groups)
    wanted = (True, False, False)
    moved = _aten.native_group_norm_backward(tangent.contiguous(), x, mean, rstd, None, *sizes, wanted)[0]
    return moved if weight is None else moved.mul_(weight.reshape(-1, *(1,) * (x.ndim - 2)))


def layer_norm(
    tangent: Tensor, x: Tensor, shape: Sequence[int], weight: Tensor | None = None, bias: Any = None,
    eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    _, mean, rstd = torch.native_layer_norm(x, shape, None, None, eps)
    moved = _aten.native_layer_norm_backward(tangent, x, shape, mean, rstd, None, None, (True, False, False))[0]
    return moved if weight is None else moved.mul_(weight)


def softmax(tangent: Tensor, value: Tensor, dim: int) -> Tensor:
    return _aten._softmax_backward_data(tangent, value, dim, value.dtype)
