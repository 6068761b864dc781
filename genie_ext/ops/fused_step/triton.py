"""fused_step in Triton: the same names and steps as reference.py.

    1 convert   y_h  = r_h * clamp(p_h*x + sum_o Q[h,o]*o_o, -b_h, +b_h)
    2 store     stored[h] = y_h
    3 combine   x'   = W_0 . [x, aux, y_1..y_H, history newest first] + C_0 . [d_1, d_2]
                aux' = W_1 . [x, aux, y_1..y_H, history newest first] + C_1 . [d_1, d_2]
    4 feed      x_in = e * x'

One program per block of a sample. A tensor other than x is not loaded where its coefficient is zero in every sum;
in-kernel draws are always generated. Absent tensors and all counts are compile-time, coefficients are not. CONVERTED
and DRAWS are arguments because Triton 3.6 cannot take the length of a tuple that holds None.
"""

# Triton extends tuples by + only, and its language is not typed as Python runs it
# ruff: noqa: RUF005
# pyright: reportArgumentType=false, reportAssignmentType=false, reportGeneralTypeIssues=false

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from ..triton_math import (
    BLOCK,
    LAUNCH_OPTIONS,
    Samples,
    current_device,
    load,
    negative_zeros,
    normals,
    place,
    samples,
    signed_word,
    store,
    widen,
)
from .contract import FusedStepCall

__all__ = ["fused_step_kernel", "run"]


def run(call: FusedStepCall) -> None:
    elements = call.x[0].numel()
    if elements == 0:
        return
    noise = call.noise
    programs = call.x.shape[0] * triton.cdiv(elements, BLOCK)
    with current_device(call.x.device):
        fused_step_kernel[(programs,)](
            samples(call.x),
            _optional(call.aux),
            tuple(samples(o) for o in call.outputs),
            tuple(samples(h) for h in call.history),
            tuple(_optional(d if isinstance(d, Tensor) else None) for d in call.draws),
            *_draw_numbers(call),
            call.row,
            call.row.stride(0) if call.row.ndim == 2 else 0,
            None if noise is None else noise.seed,
            None if noise is None else noise.sample_ids,
            0 if noise is None else signed_word(noise.stream),
            samples(call.out),
            _optional(call.aux_out),
            tuple(_optional(s) for s in call.stored),
            _optional(call.x_in),
            call.nonfinite,
            elements,
            CONVERTED=call.converted,
            DRAWS=len(call.draws),
            **LAUNCH_OPTIONS,
        )


def _draw_numbers(call: FusedStepCall) -> tuple[int, int]:
    numbers = [0 if isinstance(d, Tensor) else signed_word(d) for d in call.draws] + [0, 0]
    return numbers[0], numbers[1]


def _optional(tensor: Tensor | None) -> Samples | None:
    return None if tensor is None else samples(tensor)


@triton.jit(do_not_specialize=["draw_1", "draw_2", "row_stride", "stream"])
def fused_step_kernel(
    x,
    aux,
    outputs,
    history,
    draws,
    draw_1,
    draw_2,
    row,
    row_stride,
    seed,
    sample_ids,
    stream,
    out,
    aux_out,
    stored,
    x_in,
    nonfinite,
    elements,
    CONVERTED: tl.constexpr,
    DRAWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    sample, first = place(elements, BLOCK)
    offset = first + tl.arange(0, BLOCK)
    column = row + sample * row_stride  # moves along the row
    c: tl.constexpr = row.dtype.element_ty
    states: tl.constexpr = 1 if aux_out is None else 2
    read: tl.constexpr = 1 if aux is None else 2
    width: tl.constexpr = read + CONVERTED + len(history) + DRAWS

    # 1 convert
    x_now = (load(x, sample, offset, elements, c),)
    converted = _convert(column, x_now, outputs, sample, offset, elements, CONVERTED)
    column += CONVERTED * (len(outputs) + 3)

    # 3 combine
    terms = x_now
    if aux is not None:
        terms = terms + _load_used((aux,), column + 1, states, width, sample, offset, elements)
    terms = terms + converted
    terms = terms + _load_used(history, column + len(terms), states, width, sample, offset, elements)
    for d in tl.static_range(DRAWS):
        if draws[d] is None:
            draw = draw_1 if d == 0 else draw_2
            z = normals(seed, sample_ids, sample, draw, stream, first, BLOCK)
            terms = terms + (z.to(c),)
        else:
            terms = terms + _load_used((draws[d],), column + len(terms), states, width, sample, offset, elements)
    x_next = _sum_of_products(column, terms)
    aux_next = _sum_of_products(column + (states - 1) * width, terms)

    # 4 feed
    x_fed = tl.load(column + states * width) * x_next

    # 2 store, all of it after the last load: out may be x, aux_out may be aux
    mask = offset < elements
    for h in tl.static_range(CONVERTED):
        if stored[h] is not None:
            store(stored[h], sample, offset, converted[h], mask)
    found = _is_nonfinite(store(out, sample, offset, x_next, mask), mask, c)
    if aux_out is not None:
        found |= _is_nonfinite(store(aux_out, sample, offset, aux_next, mask), mask, c)
    if x_in is not None:
        store(x_in, sample, offset, x_fed, mask)
    if nonfinite is not None:
        tl.atomic_or(nonfinite + sample, 1, mask=found, sem="relaxed")


@triton.jit
def _convert(column, x_now, outputs, sample, offset, elements, CONVERTED: tl.constexpr):
    width: tl.constexpr = len(outputs) + 3
    inputs = x_now + _load_used(outputs, column + 1, CONVERTED, width, sample, offset, elements)
    converted = ()
    for h in tl.static_range(CONVERTED):
        y = _sum_of_products(column + h * width, inputs)
        bound = tl.load(column + h * width + len(inputs))
        scale = tl.load(column + h * width + len(inputs) + 1)
        y = tl.where(y > bound, bound, y)
        y = tl.where(y < -1.0 * bound, -1.0 * bound, y)
        converted = converted + (scale * y,)
    return converted


@triton.jit
def _load_used(sources, column, sums: tl.constexpr, width: tl.constexpr, sample, offset, elements):
    """A block of each source; zeros where its coefficients (one per sum, ``width`` apart) are."""
    blocks = ()
    for i in tl.static_range(len(sources)):
        unused = True
        for s in tl.static_range(sums):
            unused = unused & (tl.load(column + i + s * width) == 0)
        count = tl.where(unused, 0, elements)
        blocks = blocks + (load(sources[i], sample, offset, count, column.dtype.element_ty),)
    return blocks


@triton.jit
def _sum_of_products(column, values):
    total = negative_zeros(values[0].shape[0], values[0].dtype)
    empty = True
    for i in tl.static_range(len(values)):
        coefficient = tl.load(column + i)
        used = coefficient != 0
        total = tl.where(used, total + coefficient * values[i], total)
        empty = empty & (coefficient == 0)
    return tl.where(empty, 0.0, total)


@triton.jit
def _is_nonfinite(written, mask, compute: tl.constexpr):
    """Whether any value, as stored, is an inf or NaN."""
    finite = tl.abs(widen(written, compute)) < float("inf")
    return tl.max((mask & ~finite).to(tl.int32)) != 0
