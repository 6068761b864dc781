"""The streams of noise that a run draws from, and data brought to a time by one of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from genie_ext import Noise, fused_step

from .._arguments import integer

__all__ = ["STREAM_INITIAL", "STREAM_PLAN", "STREAM_RENOISING", "checked_ids", "noised", "signed_seed"]

STREAM_INITIAL, STREAM_PLAN, STREAM_RENOISING = 0, 1, 3


def noised(x: Tensor, alpha: float, sigma: float, *, seed: int, sample_ids: Sequence[int], draw: int) -> Tensor:
    """alpha x + sigma z, z being draw ``draw`` of the stream of forward re-noising; x [b, ...], any float dtype.

    seed: 64 bits. By the op, so that the bits depend on neither device nor batch.
    """
    compute = torch.float64 if x.dtype == torch.float64 else torch.float32
    noise = Noise(
        torch.tensor([signed_seed(seed)], dtype=torch.int64, device=x.device),
        torch.tensor(sample_ids, dtype=torch.int64, device=x.device),
        STREAM_RENOISING,
    )
    row = torch.tensor([alpha, sigma, 1.0], dtype=compute, device=x.device)
    return fused_step(x.contiguous(), row=row, converted=0, draws=(draw,), noise=noise).out


def checked_ids(sample_ids: Sequence[int] | None, count: int) -> tuple[int, ...]:
    """One integer in 0..2^32-1 for each of ``count`` samples, 0, 1, ... by default; TypeError or ValueError."""
    if sample_ids is None:
        return tuple(range(count))
    if not isinstance(sample_ids, Iterable):
        raise TypeError(f"sample_ids: {sample_ids!r}; need {count} integers in 0..2^32-1")
    ids = tuple(integer(i, "sample_ids") for i in sample_ids)
    if len(ids) != count:
        raise ValueError(f"sample_ids: {len(ids)} ids for {count} samples; give one per sample")
    if min(ids) < 0 or max(ids) >= 2**32:
        raise ValueError(f"sample_ids: {min(ids)}..{max(ids)}; need integers in 0..2^32-1")
    return ids


def signed_seed(seed: int) -> int:
    """The 64 bits of a seed as int64; ValueError for what is not 64 bits."""
    bits = integer(seed, "seed")
    if not 0 <= bits < 2**64:
        raise ValueError(f"seed={seed}; need 64 bits, 0..2^64-1")
    return bits - 2**64 if bits >= 2**63 else bits
