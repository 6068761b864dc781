"""jvp_distill_loss in Triton: one pass that leaves a partial sum per block; the reference's tree adds these."""

# Triton's language is not typed as Python runs it
# pyright: reportArgumentType=false, reportGeneralTypeIssues=false

from __future__ import annotations

import triton
import triton.language as tl

from ..tree_sum import SUM_BLOCK, tree_sum
from ..triton_math import LAUNCH_OPTIONS, current_device, load, place, samples, store
from .contract import JvpDistillLossCall
from .reference import finish

__all__ = ["jvp_distill_loss_kernel", "run"]

_LEVELS = tl.constexpr(SUM_BLOCK.bit_length() - 1)
_OPTIONS = {**LAUNCH_OPTIONS, "BLOCK": SUM_BLOCK}  # the order of the sum, whoever runs it


def run(call: JvpDistillLossCall) -> None:
    batch, elements = call.maps.shape[0], call.target[0].numel()
    blocks = triton.cdiv(elements, SUM_BLOCK)
    rows, partials = call.rows(), call.scratch[: batch * blocks]
    if blocks > 0:
        gradient = call.maps if call.gradient is None else call.gradient  # never written if absent
        with current_device(call.maps.device):
            jvp_distill_loss_kernel[(batch * blocks,)](
                samples(call.maps),
                samples(call.target),
                rows,
                samples(gradient),
                partials,
                elements,
                call.gradient is not None,
                **_OPTIONS,
            )
    finish(call, tree_sum(partials.view(batch, blocks)), rows)


@triton.jit
def jvp_distill_loss_kernel(
    maps, target, rows, gradient, partials, elements, differentiate: tl.constexpr, BLOCK: tl.constexpr
):
    sample, first = place(elements, BLOCK)
    compute: tl.constexpr = rows.dtype.element_ty
    count = tl.cast(elements, tl.int64)
    offset = first + tl.arange(0, BLOCK)
    row = rows + sample * 4
    c2, c3, slope = tl.load(row), tl.load(row + 1), tl.load(row + 3)
    k1 = load(maps, sample, offset, count, compute)
    k2 = load(maps, sample, offset + count, 2 * count, compute)
    k3 = load(maps, sample, offset + 2 * count, 3 * count, compute)
    # 1 residual
    r = ((c2 * k2 + c3 * k3) - k1) - load(target, sample, offset, count, compute)
    # 2 differentiate
    inside = offset < count
    if differentiate:
        store(gradient, sample, offset, -slope * r, inside)
        store(gradient, sample, offset + count, (slope * c2) * r, inside)
        store(gradient, sample, offset + 2 * count, (slope * c3) * r, inside)
    # 3 square
    squares = tl.where(inside, r * r, 0.0)
    # 4 sum
    tl.store(partials + tl.program_id(0), _tree_sum(squares))


@triton.jit
def _tree_sum(values):
    """Halves are added until one value is left; a sum of two has one order only."""
    for _ in tl.static_range(_LEVELS):
        values = tl.sum(tl.reshape(values, (2, values.shape[0] // 2)), axis=0)
    return tl.sum(values, axis=0)
