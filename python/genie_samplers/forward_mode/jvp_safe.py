"""Networks inside which forward-mode differentiation works, at first order and nested.

torch has no such formula for its fused attention, one for GroupNorm that fails where the strides of the tangent differ
from the input's, none of second order for SiLU and Mish, and a wrong one of second order for LayerNorm. Inside
:func:`jvp_safe` they are computed from elementary operations instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

__all__ = ["jvp_safe"]


@contextmanager
def jvp_safe() -> Iterator[None]:
    """Networks run in this block, by this thread, can be differentiated by torch.func.jvp, also twice.

    The values are those of the plain network up to rounding. Nothing is patched: networks, other threads and torch
    itself stay as they are.
    """
    with _Replaced(_ELEMENTARY):
        yield


class _Replaced(TorchFunctionMode):
    """Calls another function in place of some of torch's."""

    def __init__(self, others: Mapping[Callable[..., Any], Callable[..., Any]]) -> None:
        super().__init__()
        self.others = others

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping | None = None
    ) -> Any:
        return self.others.get(func, func)(*args, **(kwargs or {}))


def _group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    groups = input.reshape(input.shape[0], num_groups, -1)
    per_channel = (-1, *(1,) * (input.ndim - 2))
    return _affine(_normal(groups, (2,), eps).reshape(input.shape), weight, bias, per_channel)


def _layer_norm(
    input: Tensor, shape: Sequence[int], weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    return _affine(_normal(input, tuple(range(-len(shape), 0)), eps), weight, bias, tuple(shape))


def _normal(input: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    half = input.dtype in (torch.float16, torch.bfloat16)  # whose statistics torch takes in float32, too
    values = input.float() if half else input
    centred = values - values.mean(dims, keepdim=True)
    return (centred * torch.rsqrt(centred.square().mean(dims, keepdim=True) + eps)).to(input.dtype)


def _affine(normal: Tensor, weight: Tensor | None, bias: Tensor | None, shape: tuple[int, ...]) -> Tensor:
    scaled = normal if weight is None else normal * weight.reshape(shape)
    return scaled if bias is None else scaled + bias.reshape(shape)


def _attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, *args: Any, **kw: Any
) -> Tensor:
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        attn_mask = torch.zeros_like(attn_mask, dtype=query.dtype).masked_fill(~attn_mask, -torch.inf)
    # what SDPBackend.MATH runs, without the switch, which is one for all threads
    return torch.ops.aten._scaled_dot_product_attention_math(query, key, value, attn_mask, *args, **kw)[0]


def _silu(input: Tensor, inplace: bool = False) -> Tensor:
    return input * torch.sigmoid(input)


def _mish(input: Tensor, inplace: bool = False) -> Tensor:
    return input * torch.tanh(functional.softplus(input))


_ELEMENTARY: dict[Callable[..., Any], Callable[..., Tensor]] = {
    functional.group_norm: _group_norm,
    functional.layer_norm: _layer_norm,
    functional.scaled_dot_product_attention: _attention,
    functional.silu: _silu,
    functional.mish: _mish,
}
