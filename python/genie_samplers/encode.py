"""Data to latents: the ODE run from little noise to much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from .engine import Model, OnRow, sample
from .plan import Plan

__all__ = ["encode"]


def encode(
    model: Model,
    plan: Plan,
    x: Tensor,
    *,
    seed: int | None = None,
    cond: Mapping[str, object] | None = None,
    sample_ids: Sequence[int] | None = None,
    batch_size: int | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    backend: str | None = None,
    on_row: OnRow | None = None,
    progress: bool | None = None,
) -> Tensor:
    """The state at the plan's last time, t_max, from which the ODE leads to ``x``; [B, ...] of ``dtype``.

    plan: a rising one without draws, as ``make_plan(..., direction="encode")`` makes of a deterministic solver. x:
    [B, ...]. seed: None takes x as the state at the plan's first time, which is what a plan that ends there samples; a
    number takes x as clean data and starts in alpha x + sigma z, the state that the network knows (docs/encoding.md has
    what either costs). The result is a state too, so ``sample(model, falling_plan, x_init=latent)`` inverts; over
    ``schedule.sigma(schedule.t_max)`` it is a latent of unit variance. The other arguments are those of
    :func:`genie_samplers.sample`. Song, Meng and Ermon, arXiv 2010.02502, sections 4.3 and 5.4.

    Raises ValueError for a plan that falls or draws, and what ``sample`` raises.
    """
    if isinstance(plan, Plan) and not plan.rising:
        raise ValueError("plan: its times fall, which samples; make one with make_plan(..., direction='encode')")
    if isinstance(plan, Plan) and plan.stochastic:
        raise ValueError("plan: draws noise, so no state decodes to x; encode with a deterministic solver")
    start, seed = (None, 0) if seed is None else (0, seed)
    return sample(
        model, plan, x_init=x, start=start, seed=seed, cond=cond, sample_ids=sample_ids, batch_size=batch_size,
        device=device, dtype=dtype, backend=backend, on_row=on_row, progress=progress,
    )  # fmt: skip
