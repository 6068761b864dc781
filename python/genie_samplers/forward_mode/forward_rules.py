"""Layers with forward-mode rules that cost what they should: about twice the layer.

torch's own rule for a convolution or a linear map also convolves with the tangent of the weight, which is zero here;
that for SiLU is interpreted in Python, and that for GroupNorm fails where the strides of tangent and input differ.
These rules are forward-mode only, first order and in the input alone: ``jvp_safe`` says where they are used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from .symmetric import normal_group_tangent

__all__ = ["FIRST_ORDER"]

Layer = Callable[..., Tensor]


class _Linear(torch.autograd.Function):
    """layer(x, weight, bias, *settings), linear in x."""

    @staticmethod
    def forward(layer: Layer, x: Tensor, weight: Tensor, bias: Tensor | None, settings: tuple[Any, ...]) -> Tensor:
        return layer(x, weight, bias, *settings)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.set_materialize_grads(False)
        ctx.layer, _, weight, _, ctx.settings = inputs
        ctx.save_for_forward(weight)

    @staticmethod
    def jvp(ctx: Any, _: None, x: Tensor, *parameters: Tensor | None) -> Tensor:  # type: ignore[override]
        _refuse(parameters)
        (weight,) = ctx.saved_tensors
        return ctx.layer(x, weight, None, *ctx.settings)


class _GroupNorm(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, groups: int, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
        batch, channels = x.shape[:2]
        return torch.native_group_norm(x.contiguous(), weight, bias, batch, channels, x[0, 0].numel(), groups, eps)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
        ctx.set_materialize_grads(False)
        x, ctx.groups, weight, *_ = inputs
        _, mean, rstd = output
        ctx.mark_non_differentiable(mean, rstd)
        ctx.save_for_forward(x, weight, mean, rstd)

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *parameters: Tensor | None) -> tuple[Tensor, None, None]:  # type: ignore[override]
        _refuse(parameters)
        x, weight, mean, rstd = ctx.saved_tensors
        return normal_group_tangent(tangent, x.contiguous(), mean, rstd, ctx.groups, weight), None, None


class _SiLU(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return functional.silu(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_forward(*inputs)

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return torch.ops.aten.silu_backward(tangent, x)


def _refuse(parameters: tuple[Tensor | None, ...]) -> None:
    if any(tangent is not None for tangent in parameters):
        raise NotImplementedError("a parameter of the network has a tangent; use jvp_safe(order=2)")


def _linear(layer: Layer) -> Layer:
    def run(input: Tensor, weight: Tensor, bias: Tensor | None = None, *settings: Any, **named: Any) -> Tensor:
        if named:  # called in a way that torch.nn's layers do not
            return layer(input, weight, bias, *settings, **named)
        return _Linear.apply(layer, input, weight, bias, settings)  # type: ignore[return-value]

    return run


def _group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    weight = input.new_ones(input.shape[1]) if weight is None else weight
    bias = input.new_zeros(input.shape[1]) if bias is None else bias
    return _GroupNorm.apply(input, num_groups, weight, bias, eps)[0]  # type: ignore[index]


def _silu(input: Tensor, inplace: bool = False) -> Tensor:
    return _SiLU.apply(input)  # type: ignore[return-value]


FIRST_ORDER: dict[Callable[..., Any], Layer] = {
    **{f: _linear(f) for f in (functional.linear, functional.conv1d, functional.conv2d, functional.conv3d)},
    functional.group_norm: _group_norm,
    functional.silu: _silu,
}
"""torch function -> the same with a rule of its own."""
