"""normal_fill: counter-based standard normals that depend on seed, sample id, draw, stream and element alone."""

from __future__ import annotations

import torch
from torch import Tensor

from ..._autograd import mark_written, wants_gradients
from ..._checks import check_integer, check_tensor
from ..._dispatch import resolve
from ..noise import Noise, check_noise_types
from .contract import NormalFillCall, check

__all__ = ["normal_fill"]


def normal_fill(out: Tensor, *, noise: Noise, draw: int = 0, backend: str | None = None) -> Tensor:
    """Fill ``out`` with standard normals, in place, and return it.

    Philox4x32-10 with key = seed and counter = (element // 4, draw, sample id, stream), element being the row-major
    index inside the sample; float32 Box-Muller without libm (error at most 1.4e-6, |z| <= 6.764). Same bits on every
    backend, for any batch, chunking and thread count.

    out: [B, ...], float32, float64, float16 or bfloat16 (float32 normals, widened or rounded once); each sample dense
        in row-major order, the stride between samples free.
    noise: seed int64 [1], sample_ids int64 [B] on out's device, and the stream number. draw: 0..2^32-1.

    Raises ValueError or TypeError naming the argument.
    """
    check_tensor("out", out)
    noise, draw = check_noise_types(noise), check_integer("draw", draw)
    if wants_gradients(out):
        raise ValueError(
            "out: requires grad or carries a tangent, and normals have neither; use torch.no_grad() or .detach()"
        )
    if torch.compiler.is_compiling():
        torch.ops.genie_ext.normal_fill(out, noise.seed, noise.sample_ids, noise.stream, draw, backend)
        return out
    call = NormalFillCall(out, noise, draw)
    check(call)
    name, run = resolve("normal_fill", out.device, backend)
    run(call)
    if name != "reference":
        mark_written(out)
    return out
