"""The call that every backend of ``normal_fill`` receives, and its checks."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..._checks import check_dense_samples, check_float, check_memory, check_no_overlap, check_word, regions
from ..noise import Noise, check_noise

__all__ = ["NormalFillCall", "check"]


@dataclass(slots=True)
class NormalFillCall:
    """Fill ``out`` [B, ...] (any float dtype, dense within a sample) with draw number ``draw`` of ``noise``."""

    out: Tensor
    noise: Noise
    draw: int


def check(call: NormalFillCall) -> None:
    check_memory("out", call.out)
    check_float("out", call.out)
    if call.out.ndim < 1 or call.out.shape[0] < 1:
        raise ValueError(f"out: shape {tuple(call.out.shape)}; need [B, ...] with at least one sample")
    check_dense_samples("out", call.out)
    check_noise(call.noise, call.out)
    check_word("draw", call.draw)
    sources = regions([("noise.seed", call.noise.seed), ("noise.sample_ids", call.noise.sample_ids)])
    for out in regions([("out", call.out)]):
        for source in sources:
            check_no_overlap(out, source)
