"""The loss and, in the same pass, its gradient; the backward pass only scales it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from ..._dispatch import resolve
from ..._torch_private import keeps_graph
from .contract import allocate, compute_dtype, share_of
from .reference import loss_and_total
from .weighting import rows_of

__all__ = ["DistillLoss", "check_first_derivative", "differentiable_loss", "evaluate", "scaled"]


class DistillLoss(torch.autograd.Function):
    """``evaluate`` as a function of maps; a second derivative is refused, a tangent has run on the reference."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        maps: Tensor,
        target: Tensor,
        gamma: Tensor,
        weights: Tensor | None,
        reduction: str,
        backend: str | None,
    ) -> Tensor:
        loss, gradient = evaluate(maps, target, gamma, weights, reduction, backend, differentiate=True)
        ctx.save_for_backward(gradient)
        return loss

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: FunctionCtx, incoming: Tensor
    ) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors  # type: ignore[attr-defined]
        check_first_derivative()
        return _scaled_in_place_if_last(gradient, incoming), None, None, None, None, None

    @staticmethod
    def jvp(ctx: FunctionCtx, *tangents: Tensor | None) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        raise RuntimeError("jvp_distill_loss: a tangent reached a native backend; use backend=None or 'reference'")


def evaluate(
    maps: Tensor,
    target: Tensor,
    gamma: Tensor,
    weights: Tensor | None,
    reduction: str,
    backend: str | None,
    *,
    differentiate: bool,
) -> tuple[Tensor, Tensor]:
    """The losses [B] or their total [], and the total's gradient by maps, of no elements unless it is asked for.

    The caller has checked the arguments.
    """
    call = allocate(maps, target, gamma, weights, mean=reduction == "mean", differentiate=differentiate)
    _, run = resolve("jvp_distill_loss", maps.device, backend)
    run(call)
    loss = call.losses if reduction == "none" else call.total
    return loss, maps.new_empty(0) if call.gradient is None else call.gradient


def differentiable_loss(maps: Tensor, target: Tensor, gamma: Tensor, weights: Tensor | None, reduction: str) -> Tensor:
    """The same in plain torch operations, for derivatives of every kind by every argument."""
    share = share_of(reduction == "mean", maps.shape[0])
    losses, total = loss_and_total(maps, target, rows_of(gamma, weights, compute_dtype(maps, target), share))
    return losses if reduction == "none" else total


def check_first_derivative() -> None:
    """Raise where the backward pass is itself recorded: the gradient is a constant there, its derivative would be 0."""
    if torch.is_grad_enabled():
        raise RuntimeError(
            "jvp_distill_loss: create_graph=True, but its gradient cannot be differentiated; drop create_graph, or "
            "take both derivatives with torch.func.grad"
        )


def scaled(gradient: Tensor, incoming: Tensor) -> Tensor:
    return (gradient * _beside(gradient, incoming)).to(gradient.dtype)


def _scaled_in_place_if_last(gradient: Tensor, incoming: Tensor) -> Tensor:
    if incoming.ndim == 0 and incoming.is_cpu and incoming.item() == 1.0:  # elsewhere looking waits for the device
        return gradient
    if keeps_graph():  # another backward pass may follow
        return scaled(gradient, incoming)
    return gradient.mul_(_beside(gradient, incoming))


def _beside(gradient: Tensor, incoming: Tensor) -> Tensor:
    """incoming, a number or one per sample, so that it multiplies whole samples."""
    return incoming if incoming.ndim == 0 else incoming.reshape(-1, *(1,) * (gradient.ndim - 1))
