"""The ops as torch.library sees them: one registration each, for torch.compile and opcheck.

Most write into given tensors and return nothing, so a fake kernel has nothing to compute; the loss returns new
tensors. Coefficients are a tensor and never recompile. Eager code does not pass through here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ._dispatch import resolve
from .ops.fused_step.contract import FusedStepCall
from .ops.fused_step.contract import check as check_step
from .ops.jvp_distill_loss.autograd import check_first_derivative, evaluate, scaled
from .ops.jvp_distill_loss.contract import check_inputs as check_loss
from .ops.jvp_distill_loss.contract import compute_dtype
from .ops.noise import Noise
from .ops.normal_fill.contract import NormalFillCall
from .ops.normal_fill.contract import check as check_fill
from .ops.spectral_filter import SpectralFilter
from .ops.spectral_filter.contract import check_image
from .ops.spectral_filter.contract import compute_dtype as computes_in
from .ops.sum_of_squares.contract import SumOfSquaresCall
from .ops.sum_of_squares.contract import check as check_squares

__all__ = ["fused_step", "jvp_distill_loss", "normal_fill", "spectral_filter", "sum_of_squares"]

_WRITTEN = ("out", "aux_out", "stored_1", "stored_2", "x_in", "nonfinite")


@torch.library.custom_op("genie_ext::fused_step", mutates_args=_WRITTEN)
def fused_step(
    x: Tensor,
    outputs: Sequence[Tensor],
    history: Sequence[Tensor],
    row: Tensor,
    converted: int,
    aux: Tensor | None,
    draw_numbers: Sequence[int],
    external_draws: Sequence[Tensor],
    seed: Tensor | None,
    sample_ids: Tensor | None,
    stream: int,
    out: Tensor,
    aux_out: Tensor | None,
    stored_1: Tensor | None,
    stored_2: Tensor | None,
    x_in: Tensor | None,
    nonfinite: Tensor | None,
    backend: str | None,
) -> None:
    """``draw_numbers`` holds -1 for each external draw."""
    external = iter(external_draws)
    call = FusedStepCall(
        x=x,
        outputs=outputs,
        history=history,
        row=row,
        converted=converted,
        aux=aux,
        draws=[next(external) if number < 0 else number for number in draw_numbers],
        noise=None if seed is None or sample_ids is None else Noise(seed, sample_ids, stream),
        out=out,
        aux_out=aux_out,
        stored=(stored_1, stored_2)[:converted],
        x_in=x_in,
        nonfinite=nonfinite,
    )
    check_step(call)
    _, run = resolve("fused_step", x.device, backend)
    run(call)


@torch.library.custom_op("genie_ext::normal_fill", mutates_args=("out",))
def normal_fill(out: Tensor, seed: Tensor, sample_ids: Tensor, stream: int, draw: int, backend: str | None) -> None:
    call = NormalFillCall(out, Noise(seed, sample_ids, stream), draw)
    check_fill(call)
    _, run = resolve("normal_fill", out.device, backend)
    run(call)


@torch.library.custom_op("genie_ext::spectral_filter", mutates_args=("out",))
def spectral_filter(
    z: Tensor,
    frequency: Tensor,
    space: Tensor | None,
    transform: str,
    skip_forward: bool,
    method: str | None,
    index: int,
    adjoint: bool,
    out: Tensor,
    backend: str | None,
) -> None:
    """frequency may be a bank, and lie on the CPU."""
    check_image("z", z)
    SpectralFilter(
        frequency,
        space,
        transform=transform,  # type: ignore[arg-type]
        skip_forward=skip_forward,
        method=method,  # type: ignore[arg-type]
        dtype=computes_in(z),
        device=z.device,
        backend=backend,
    )(z, out, index, adjoint)


@torch.library.custom_op("genie_ext::sum_of_squares", mutates_args=("out",))
def sum_of_squares(x: Tensor, out: Tensor, backend: str | None) -> None:
    call = SumOfSquaresCall(x, out)
    check_squares(call)
    _, run = resolve("sum_of_squares", x.device, backend)
    run(call)


@fused_step.register_fake
@normal_fill.register_fake
@spectral_filter.register_fake
@sum_of_squares.register_fake
def _writes_only(*args: object, **kwargs: object) -> None:
    """Shapes and dtypes are those of the tensors that were given."""


@torch.library.custom_op("genie_ext::jvp_distill_loss", mutates_args=())
def jvp_distill_loss(
    maps: Tensor,
    target: Tensor,
    gamma: Tensor,
    weights: Tensor | None,
    reduction: str,
    differentiate: bool,
    backend: str | None,
) -> tuple[Tensor, Tensor]:
    """The loss and its gradient with respect to maps, of no elements where that is not wanted."""
    check_loss(maps, target, gamma, weights)
    return evaluate(maps, target, gamma, weights, reduction, backend, differentiate=differentiate)


@jvp_distill_loss.register_fake
def _loss_shapes(
    maps: Tensor,
    target: Tensor,
    gamma: Tensor,
    weights: Tensor | None,
    reduction: str,
    differentiate: bool,
    backend: str | None,
) -> tuple[Tensor, Tensor]:
    shape = maps.shape[:1] if reduction == "none" else ()
    gradient = maps.new_empty(maps.shape if differentiate else 0)
    return maps.new_empty(shape, dtype=compute_dtype(maps, target)), gradient


def _keep_gradient(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(output[1])
    ctx.mark_non_differentiable(output[1])


def _scale_gradient(ctx: Any, incoming: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    if not torch.compiler.is_compiling():  # AOTAutograd traces with gradients on, and refuses by itself
        check_first_derivative()
    (gradient,) = ctx.saved_tensors
    return scaled(gradient, incoming), None, None, None, None, None, None


jvp_distill_loss.register_autograd(_scale_gradient, setup_context=_keep_gradient)
