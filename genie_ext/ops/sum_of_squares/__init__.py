"""sum_of_squares: per sample, in an order that is fixed."""

from __future__ import annotations

import torch
from torch import Tensor

from ..._autograd import check_differentiable, mark_written, wants_gradients
from ..._checks import check_optional_tensor, check_samples, check_tensor
from ..._dispatch import requested, resolve
from . import reference
from .contract import SumOfSquaresCall, check

__all__ = ["sum_of_squares"]


def sum_of_squares(x: Tensor, *, out: Tensor | None = None, backend: str | None = None) -> Tensor:
    """The sum of the squares of each sample's elements, float64 [B].

    Squares and sums are of float64, within blocks of 1024 elements and then over the blocks, each a tree: the same bits
    on every backend, for any batch, chunking and thread count.

    x: [B, ...], any float dtype, each sample dense in row-major order. out: contiguous float64 [B] on x's device, or
        None to allocate; returned. Differentiable by x in both modes where out is None.

    Raises ValueError or TypeError naming the argument.
    """
    check_tensor("x", x)
    check_optional_tensor("out", out)
    if wants_gradients(x):
        check_differentiable("sum_of_squares", requested(backend), [out])
        check_samples("x", x)
        return reference.sums(x)
    if wants_gradients(out):
        raise ValueError("out: requires grad or carries a tangent; use torch.no_grad() or .detach()")
    target = x.new_empty(x.shape[:1], dtype=torch.float64) if out is None else out
    if torch.compiler.is_compiling():
        torch.ops.genie_ext.sum_of_squares(x, target, backend)
        return target
    call = SumOfSquaresCall(x, target)
    check(call)
    name, run = resolve("sum_of_squares", x.device, backend)
    run(call)
    if name != "reference":
        mark_written(target)
    return target
