"""States that a loop drives by hand, and a network for them whose bits depend on the state alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import genie_ext
from genie_samplers import Plan, PlanState, Program
from genie_samplers.run import run_rows

from .fakes import SHAPE, normals

__all__ = ["IDS", "begun", "finished", "network", "noise_of", "outputs_of", "start_of"]

IDS = [4, 0, 9]


def network(x: Tensor) -> Tensor:
    """Elementwise and of exact products, so that its bits depend on the state alone."""
    return x * x.abs().clamp(max=1.0) * 0.5


def noise_of(ids: list[int], seed: int = 7, device: str = "cpu") -> genie_ext.Noise:
    return genie_ext.Noise(torch.tensor([seed], device=device), torch.tensor(ids, device=device), 1)


def outputs_of(state: PlanState) -> Any:
    """As many as the row reads; the further ones are multiples of the first."""
    call = state.call
    assert call is not None
    return tuple((1.0 + 0.5 * i) * network(state.model_input) for i in range(len(call.names)))


def finished(state: PlanState) -> Tensor:
    return run_rows(state, lambda call, state: outputs_of(state)).x


def start_of(plan: Plan, dtype: torch.dtype = torch.float32) -> Tensor:
    return plan.init.scale * normals(IDS, SHAPE, draw=0, stream=0, seed=7).to(dtype)


def begun(plan: Plan, **options: Any) -> PlanState:
    x = start_of(plan)
    return PlanState(Program.of(plan), x, noise_of(IDS) if plan.stochastic else None, **options)
