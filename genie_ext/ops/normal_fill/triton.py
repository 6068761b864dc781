"""normal_fill in Triton; the generator itself is in triton_math.py."""

# Triton's language is not typed as Python runs it
# pyright: reportArgumentType=false

from __future__ import annotations

import triton
import triton.language as tl

from ..triton_math import (
    BLOCK,
    LAUNCH_OPTIONS,
    current_device,
    normals,
    place,
    samples,
    signed_word,
    store,
)
from .contract import NormalFillCall

__all__ = ["normal_fill_kernel", "run"]


def run(call: NormalFillCall) -> None:
    out, noise = call.out, call.noise
    elements = out[0].numel()
    if elements == 0:
        return
    programs = out.shape[0] * triton.cdiv(elements, BLOCK)
    with current_device(out.device):
        normal_fill_kernel[(programs,)](
            samples(out),
            noise.seed,
            noise.sample_ids,
            signed_word(call.draw),
            signed_word(noise.stream),
            elements,
            **LAUNCH_OPTIONS,
        )


@triton.jit(do_not_specialize=["draw", "stream"])
def normal_fill_kernel(out, seed, sample_ids, draw, stream, elements, BLOCK: tl.constexpr):
    sample, first = place(elements, BLOCK)
    offset = first + tl.arange(0, BLOCK)
    z = normals(seed, sample_ids, sample, draw, stream, first, BLOCK)
    store(out, sample, offset, z, offset < elements)
