"""The rows of a plan, asked as loops of k-diffusion ask: at noise levels, with one report per step."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from genie_ext import Noise

from .._arguments import shown
from ..plan import Call
from ..run import PlanState, Program, Start, run_rows
from ..run.noise import STREAM_PLAN, signed_seed
from .denoiser_plans import DenoiserPlan

__all__ = ["Callback", "Denoiser", "Draws", "NoiseSampler", "run"]

Denoiser = Callable[..., Tensor]
NoiseSampler = Callable[[Tensor, Tensor], Tensor]
Callback = Callable[[dict[str, Any]], object]


class Draws:
    """Where noise comes from: a function of two levels, by default torch's generator, or counters."""

    def __init__(self, x: Tensor, sampler: NoiseSampler | None, seed: int | None) -> None:
        if sampler is not None and seed is not None:
            raise ValueError(f"seed={shown(seed)}, noise_sampler: both given; leave one of them out")
        if sampler is not None and not callable(sampler):
            raise TypeError(f"noise_sampler: {type(sampler).__name__}; give a function of (sigma, sigma_next)")
        self.sampler: NoiseSampler = sampler or (lambda sigma, sigma_next: torch.randn_like(x))
        self.noise: Noise | None = None
        if seed is not None:
            key = torch.tensor([signed_seed(seed)], dtype=torch.int64, device=x.device)
            self.noise = Noise(key, torch.arange(len(x), dtype=torch.int64, device=x.device), STREAM_PLAN)


def run(
    denoiser_plan: DenoiserPlan,
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Mapping[str, Any],
    callback: Callback | None,
    draws: Draws,
    step_done: Callable[[], object],
) -> Tensor:
    """The rows of the plan, asked as k-diffusion asks: at levels, with one report per step."""
    plan, levels, starts, first, last = denoiser_plan
    of_row = torch.tensor(levels, dtype=x.dtype, device=x.device)[:, None].repeat(1, len(x)).unbind(0)
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    program = Program.of(plan, device=x.device, dtype=dtype, model_dtype=x.dtype)
    state = PlanState(program, x.detach().to(dtype), draws.noise, start=Start(first, 0.0))

    def answer(call: Call, state: PlanState) -> Tensor:
        given, sigma = state.model_input.clone(), of_row[call.row]  # the next row writes into model_input
        denoised = model(given, sigma, **extra_args)
        if callback is not None and call.row in starts:
            i = starts.index(call.row)
            callback({"x": given, "i": i, "sigma": sigmas[i], "sigma_hat": sigma[0], "denoised": denoised})
        return denoised

    def after(call: Call, outputs: Any) -> None:
        if state.between_steps and plan.rows[call.row].converted:
            step_done()

    def draw(call: Call) -> Sequence[Tensor]:
        i = max(0, bisect_right(starts, call.row) - 1)  # churn before the first step belongs to it
        return [draws.sampler(sigmas[i], sigmas[i + 1]) for _ in plan.rows[call.row].draws]

    run_rows(state, answer, after, draw=None if draws.noise is not None else draw)
    return (state.x if last == 1.0 else state.x / last).to(x.dtype)
