"""A step in which every token has its own time: image and video conditions of LTX and others."""

from __future__ import annotations

import torch
from torch import Tensor

from genie_ext import fused_step

__all__ = ["per_token_step"]

_BELOW = 1e-6  # a token's own noise level is not one below it


def per_token_step(output: Tensor, sample: Tensor, levels: Tensor, schedule_levels: Tensor) -> Tensor:
    """x + (s - s') out, [B, L, C] float32: s the token's noise level of ``levels`` [B, L], s' the next of
    ``schedule_levels`` below it, 0 where there is none. Callers hand in the negative of the flow, as they do diffusers'
    class. ValueError for other shapes.
    """
    if sample.ndim != 3 or levels.shape != sample.shape[:2] or output.shape != sample.shape:
        raise ValueError(
            f"per_token_timesteps: {tuple(levels.shape)} for a sample {tuple(sample.shape)} and a model_output "
            f"{tuple(output.shape)}; need [B, L] beside [B, L, C]"
        )
    falling = schedule_levels.to(levels)
    below = torch.where(falling < levels[..., None] - _BELOW, falling, torch.zeros_like(falling)).amax(-1)
    tokens = levels.numel()
    row = torch.zeros((tokens, 7), dtype=torch.float32, device=sample.device)  # p, q, bound, scale, x, y, feed
    row[:, 1], row[:, 2], row[:, 3], row[:, 4], row[:, 6] = 1.0, float("inf"), 1.0, 1.0, 1.0
    row[:, 5] = (levels - below).flatten()
    x = sample.float().reshape(tokens, -1).contiguous()
    return fused_step(x, [output.reshape(tokens, -1).contiguous()], row=row, converted=1).out.reshape(sample.shape)
