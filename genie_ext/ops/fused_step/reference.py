"""fused_step in plain torch: the definition. Differentiable in states, outputs, history, external draws and the row.

    1 convert   y_h  = r_h * clamp(p_h*x + sum_o Q[h,o]*o_o, -b_h, +b_h)
    2 store     stored[h] = y_h
    3 combine   x'   = W_0 . [x, aux, y_1..y_H, history newest first] + C_0 . [d_1, d_2]     and aux' with W_1, C_1
    4 feed      x_in = e * x'

Terms in this order, one rounding per product and per sum; a term whose coefficient is zero is left out (selected, not
multiplied: NaN behind it is harmless), a sum without terms is +0.0. Everything in the compute dtype, rounded once on
the way out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ..normal_fill.reference import normals
from ..rounding import round_to
from .contract import FusedStepCall

__all__ = ["compute", "run"]


def compute(call: FusedStepCall) -> tuple[Tensor, Tensor | None, list[Tensor], Tensor]:
    """Return (x', aux' or None, [y_1..y_H], e * x'), all in the compute dtype, not yet rounded to their storage."""
    c = call.compute_dtype
    column = _columns(call)
    x = call.x.to(c)
    outputs = [o.to(c) for o in call.outputs]

    # 1 convert
    converted: list[Tensor] = []
    for _ in range(call.converted):
        y = _sum_of_products(column, [x, *outputs])
        bound, scale = next(column), next(column)
        y = torch.where(y > bound, bound, y)
        y = torch.where(y < -bound, -bound, y)
        converted.append(scale * y)

    # 3 combine
    aux = [] if call.aux is None else [call.aux.to(c)]
    terms = [x, *aux, *converted, *call.history, *_draws(call)]
    x_next = _sum_of_products(column, terms)
    aux_next = None if call.aux_out is None else _sum_of_products(column, terms)

    # 4 feed
    return x_next, aux_next, converted, next(column) * x_next


def run(call: FusedStepCall) -> None:
    """Compute, then write every destination of the call."""
    x_next, aux_next, converted, x_in = compute(call)
    # 2 store
    for target, y in zip(call.stored, converted, strict=False):
        if target is not None:
            target.copy_(y)
    call.out.copy_(round_to(x_next, call.out.dtype))
    if call.aux_out is not None and aux_next is not None:
        call.aux_out.copy_(round_to(aux_next, call.aux_out.dtype))
    if call.x_in is not None:
        # e * x' of the unrounded x'
        call.x_in.copy_(round_to(x_in, call.x_in.dtype))
    if call.nonfinite is not None:
        call.nonfinite |= _nonfinite(call)


def _columns(call: FusedStepCall) -> Iterator[Tensor]:
    """The row's coefficients one after another, each shaped to broadcast over a sample."""
    shape = (-1,) + (1,) * (call.x.ndim - 1)
    return (call.row[..., k].reshape(shape) for k in range(call.columns))


def _sum_of_products(column: Iterator[Tensor], values: Sequence[Tensor]) -> Tensor:
    total = torch.full_like(values[0], -0.0)  # the exact identity of IEEE addition
    anything = torch.tensor(False, device=total.device)
    for value in values:
        coefficient = next(column)
        used = coefficient != 0
        product = coefficient * torch.where(used, value, 0.0)
        total = torch.where(used, total + product, total)
        anything = anything | used
    return torch.where(anything, total, 0.0)


def _draws(call: FusedStepCall) -> Iterator[Tensor]:
    for draw in call.draws:
        if isinstance(draw, Tensor):
            yield draw.to(call.compute_dtype)
        elif call.noise is not None:
            z = normals(call.noise.seed, call.noise.sample_ids, draw, call.noise.stream, call.x[0].numel())
            yield z.reshape(call.x.shape).to(call.compute_dtype)


def _nonfinite(call: FusedStepCall) -> Tensor:
    states = [call.out] if call.aux_out is None else [call.out, call.aux_out]
    finite = [torch.isfinite(s).reshape(len(s), s[0].numel()).all(1) for s in states]
    return (~torch.stack(finite).all(0)).to(torch.int32)
