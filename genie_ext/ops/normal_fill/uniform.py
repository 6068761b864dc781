"""uniform_fill: counter-based uniform numbers, from the words of which ``normal_fill`` makes normals."""

from __future__ import annotations

import torch
from torch import Tensor

from ..._checks import check_integer, check_tensor
from ..noise import Noise, check_noise_types
from .contract import NormalFillCall, check
from .reference import philox

__all__ = ["uniform_fill"]

_WORD = 0xFFFFFFFF


def uniform_fill(out: Tensor, *, noise: Noise, draw: int = 0) -> Tensor:
    """Fill ``out`` with numbers of the uniform distribution on [0, 1), in place, and return it.

    Of the Philox word of each element, with the counter of :func:`genie_ext.normal_fill`, the leading 24 bits over
    2^24: integer arithmetic in torch, the same bits on every device. Arguments and errors as there; written in a dtype
    of fewer bits, a number may be rounded up to 1.
    """
    call = NormalFillCall(check_tensor("out", out), check_noise_types(noise), check_integer("draw", draw))
    check(call)
    count = out[0].numel()
    blocks = torch.arange((count + 3) // 4, device=out.device)
    counter = torch.broadcast_tensors(
        blocks[None, :],
        torch.full((), call.draw, device=out.device),
        call.noise.sample_ids[:, None] & _WORD,
        torch.full((), call.noise.stream, device=out.device),
    )
    words = torch.stack(philox(counter, (call.noise.seed & _WORD, (call.noise.seed >> 32) & _WORD)), dim=-1)
    leading = (words.flatten(1)[:, :count] >> 8).to(torch.float32)  # exact: 24 bits
    return out.copy_((leading * 2.0**-24).reshape(out.shape))
