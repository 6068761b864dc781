"""Data to latents: the ODE run from little noise to much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..plan import Plan
from ..run import AnyModel, OnRow, sample

__all__ = ["encode"]


def encode(
    model: AnyModel,
    plan: Plan,
    *,
    state: Tensor | None = None,
    image: Tensor | None = None,
    seed: int = 0,
    cond: Mapping[str, object] | None = None,
    shared: Mapping[str, object] | None = None,
    sample_ids: Sequence[int] | None = None,
    batch_size: int | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    backend: str | None = None,
    on_row: OnRow | None = None,
    progress: bool | None = None,
) -> Tensor:
    """The latents of data, [B, ...]: the state at the plan's last time, t_max, from which the ODE leads back to them.

    plan: a rising one without draws, as ``make_plan(..., direction="encode")`` makes of a deterministic solver. Either
    state [B, ...]: what the ODE starts in at the plan's first time; clean data serve as they are, being what a plan
    that ends there samples. Or image [B, ...]: clean data, started in alpha image + sigma z with z drawn by ``seed``,
    the state that the network knows (docs/encoding.md has what either costs). The result is a state too, so
    ``sample(model, falling_plan, state=latents)`` inverts; over ``schedule.sigma(schedule.t_max)`` it is a latent of
    unit variance. The other arguments are those of :func:`genie_samplers.sample`. Song, Meng and Ermon,
    arXiv 2010.02502, sections 4.3 and 5.4.

    Raises ValueError for a plan that falls or draws, and what ``sample`` raises.
    """
    if isinstance(plan, Plan) and not plan.rising:
        raise ValueError("plan: its times fall, which samples; make one with make_plan(..., direction='encode')")
    if isinstance(plan, Plan) and plan.stochastic:
        raise ValueError("plan: draws noise, so no state decodes to x; encode with a deterministic solver")
    return sample(
        model, plan, state=state, image=image, seed=seed, cond=cond, shared=shared, sample_ids=sample_ids,
        batch_size=batch_size, device=device, dtype=dtype, backend=backend, on_row=on_row, progress=progress,
    )  # fmt: skip
