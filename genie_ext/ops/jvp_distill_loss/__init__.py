"""jvp_distill_loss: GENIE's distillation loss of a derivative head, and its gradient in the same pass over memory."""

from __future__ import annotations

import torch
from torch import Tensor

from ..._autograd import check_differentiable, has_tangent, wants_gradients
from ..._checks import check_same_device, check_shape, check_tensor
from ..._dispatch import requested
from .autograd import DistillLoss, differentiable_loss, evaluate
from .contract import check_inputs
from .weighting import WEIGHTINGS, weights_of

__all__ = ["WEIGHTINGS", "jvp_distill_loss"]

_REDUCTIONS = ("mean", "sum", "none")


def jvp_distill_loss(
    maps: Tensor,
    target: Tensor,
    gamma: Tensor,
    *,
    weighting: str | Tensor = "gamma2",
    reduction: str = "mean",
    backend: str | None = None,
) -> Tensor:
    """The squared error of a head that predicts gamma d eps/d gamma, per sample summed over the elements.

        r_b    = -k1 + gamma^2/(1 + gamma^2) k2 + 1/(1 + gamma^2) k3 - target        gamma = gamma_b
        loss_b = w_b sum r_b^2

    The mixed network parameterization and the loss of GENIE (Dockhorn et al., arXiv 2210.05475), multiplied by gamma so
    that no coefficient exceeds one. Every operation is rounded once and the sum has a fixed order: the same bits on
    every backend, for any thread count, and a sample's loss whatever batch it is in. The gradient with respect to
    ``maps`` is written by the forward pass; the backward pass multiplies it by what comes in unless that is one.

    maps: [B, 3C, ...], the head's output: k1, k2, k3 as thirds of dimension 1. Any float dtype; each sample dense in
        row-major order, the stride between samples free.
    target: [B, C, ...] likewise, gamma times the total derivative of eps by gamma = sigma/alpha along the trajectory.
    gamma: [B], float32 or float64, positive (not looked at).
    weighting: a key of ``WEIGHTINGS``, or the weights w [B] themselves. 'gamma2' (w = 1) is GENIE's: gamma^2 times the
        squared error of k = d eps/d gamma; 'none' (1/gamma^2) is the squared error of k; 'min_snr' is
        min(1/gamma^2, 5); 'snr_plus_one' is 1 + 1/gamma^2; 'one_plus_gamma2' is 1 + gamma^2, in which gamma k is of
        the same size at every gamma.
    reduction: 'mean' or 'sum' over the batch gives a number, 'none' the losses [B]; float64 if maps or target is, else
        float32.
    backend: 'reference', 'cpu', 'cuda', 'triton', or None for the best one available.

    Differentiates once, by ``maps``. Tangents and torch.func transforms run on the reference (chosen by backend=None),
    which also differentiates by the other arguments if it is named; everything else is refused.
    Raises ValueError or TypeError naming the argument.
    """
    _check_arguments(maps, target, gamma, weighting, reduction)
    weights = weights_of(gamma, weighting)
    if wants_gradients(target, gamma, weighting) or has_tangent(maps):
        _check_reference(backend, target=target, gamma=gamma, weighting=weighting)
        return differentiable_loss(maps, target, gamma, weights, reduction)
    differentiate = maps.requires_grad and torch.is_grad_enabled()
    if torch.compiler.is_compiling():
        return torch.ops.genie_ext.jvp_distill_loss(maps, target, gamma, weights, reduction, differentiate, backend)[0]
    if differentiate:
        return DistillLoss.apply(maps, target, gamma, weights, reduction, backend)  # type: ignore[return-value]
    return evaluate(maps, target, gamma, weights, reduction, backend, differentiate=False)[0]


def _check_arguments(maps: Tensor, target: Tensor, gamma: Tensor, weighting: str | Tensor, reduction: str) -> None:
    for name, tensor in (("maps", maps), ("target", target), ("gamma", gamma)):
        check_tensor(name, tensor)
    if reduction not in _REDUCTIONS:
        raise ValueError(f"reduction: {reduction!r}; choose {', '.join(_REDUCTIONS)}")
    if isinstance(weighting, str) and weighting not in WEIGHTINGS:
        raise ValueError(f"weighting: {weighting!r}; choose {', '.join(WEIGHTINGS)}, or pass weights [B]")
    weights = None
    if not isinstance(weighting, str):
        weights = check_tensor("weighting", weighting, "a name or a torch.Tensor [B]")
    if not torch.compiler.is_compiling():  # else the op checks when the graph runs
        check_inputs(maps, target, gamma, weights)
    _check_per_sample("gamma", gamma, maps)
    if weights is not None:
        _check_per_sample("weighting", weights, maps)


def _check_per_sample(name: str, numbers: Tensor, maps: Tensor) -> None:
    if numbers.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"{name}: dtype {numbers.dtype}; need torch.float32 or torch.float64")
    check_same_device(name, numbers, maps.device, "maps")
    check_shape(name, numbers, maps.shape[:1])


def _check_reference(backend: str | None, **constants: object) -> None:
    """Raise unless this call may run on the differentiable reference."""
    check_differentiable("jvp_distill_loss", requested(backend), ())
    for name, value in constants.items():
        if isinstance(value, Tensor) and value.requires_grad and requested(backend) != "reference":
            raise ValueError(
                f"{name}: requires grad, but the loss differentiates by maps only; pass {name}.detach(), or "
                "backend='reference' for its gradient"
            )
