"""A step in which every token has its own time: image and video conditions of LTX and others."""

from __future__ import annotations

import torch
from torch import Tensor

from genie_ext import column_names

from ...plan import Combination, Conversion, Init, Plan, Row
from ...run import Program, Stepper

__all__ = ["per_token_step"]

_BELOW = 1e-6  # a token's own noise level is not one below it
_STEP = Plan(
    Init(1.0), ("flow",), "flow", (Row(1.0, Combination(1.0, y=(1.0,)), converted=(Conversion(0.0, (1.0,)),)),)
)
_WEIGHT = column_names(outputs=1, converted=1, history=0, draws=0).index("y0")


def per_token_step(output: Tensor, sample: Tensor, levels: Tensor, schedule_levels: Tensor) -> Tensor:
    """x + (s - s') out, [B, L, C] float32: s the token's noise level of ``levels`` [B, L], s' the next of
    ``schedule_levels`` below it, 0 where there is none. Callers hand in the negative of the flow, as they do diffusers'
    class. A token is a sample of a table per sample. ValueError for other shapes.
    """
    if sample.ndim != 3 or levels.shape != sample.shape[:2] or output.shape != sample.shape:
        raise ValueError(
            f"per_token_timesteps: {tuple(levels.shape)} for a sample {tuple(sample.shape)} and a model_output "
            f"{tuple(output.shape)}; need [B, L] beside [B, L, C]"
        )
    falling = schedule_levels.to(levels)
    below = torch.where(falling < levels[..., None] - _BELOW, falling, torch.zeros_like(falling)).amax(-1)
    program = Program.of(_STEP, device=sample.device)
    table = program.table[:, None].repeat(1, levels.numel(), 1)
    table[0, :, _WEIGHT] = (levels - below).flatten()
    tokens = sample.float().flatten(0, 1).contiguous()
    made = Stepper(program.with_table(table), tokens).step(tokens, (output.flatten(0, 1).contiguous(),))
    return made.reshape(sample.shape)
