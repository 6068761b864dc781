"""Calibrated plans at the doors of other libraries: the same numbers as ``sample``, to rounding."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import genie_samplers as gs
from genie_samplers.calibrate.learned import LearnedTable
from genie_samplers.calibrate.start import start_of
from genie_samplers.integrations import k_diffusion

STATE = torch.randn(2, 1, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def calibrated(schedule: Any, prediction: str = "epsilon", nfe: int = 4) -> gs.Plan:
    """A plan of which every number has moved, as after a calibration."""
    start = gs.make_plan("deis_tab2", schedule, nfe, prediction=prediction)
    table = LearnedTable(start_of(start), history=nfe - 1)
    with torch.no_grad():
        for parameter in table.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    return replace(table.plan(), calibration={"network": None})


@pytest.mark.parametrize("prediction", ["epsilon", "v", "flow"])
def test_a_denoiser_runs_it_as_sample_does(prediction: str) -> None:
    schedule = gs.schedules.flow() if prediction == "flow" else gs.schedules.vp_linear()
    plan = calibrated(schedule, prediction)

    def x0(scaled: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        return torch.tanh(scaled / (1.0 + level.reshape(-1, 1, 1, 1)))

    def network(x: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        level = level.double().reshape(-1, 1, 1, 1)
        alpha, sigma = (1.0 - level, level) if prediction == "flow" else (1.0 / (1.0 + level**2).sqrt(),) * 2
        sigma = sigma if prediction == "flow" else level * alpha
        clean = x0(x if prediction == "flow" else x / alpha, level)
        noise = (x - alpha * clean) / sigma
        return {"epsilon": noise, "v": alpha * noise - sigma * clean, "flow": noise - clean}[prediction]

    level = schedule.noise_share if prediction == "flow" else schedule.gamma
    model = gs.models.wrap(network, schedule, prediction=prediction, label=level, dtype=torch.float64)
    expected = gs.sample(model, plan, state=STATE, progress=False)
    assert plan.recipe is not None
    ends = np.array([plan.recipe.grid[0], plan.recipe.grid[-1]])
    first, last = (1.0, 1.0) if prediction == "flow" else schedule.alpha(ends)
    made = k_diffusion.sample(
        plan, x0, STATE / first, k_diffusion.sigmas_of(plan), flow=prediction == "flow", disable=True
    )
    # labels are float32, and the first level is 1e2
    torch.testing.assert_close(made * last, expected, rtol=1e-4, atol=1e-4)


def test_a_scheduler_of_diffusers_runs_it_as_sample_does() -> None:
    diffusers = pytest.importorskip("diffusers")
    from genie_samplers.integrations import diffusers as ours

    schedule = gs.schedules.from_diffusers(diffusers.DDPMScheduler())
    plan = calibrated(schedule)
    scheduler = ours.PlanScheduler(plan=plan.to_json())  # type: ignore[call-arg]
    scheduler.set_timesteps(plan.nfe)
    state = STATE.float()

    def network(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x * (1.0 + t.reshape(-1, 1, 1, 1) / 1000.0))

    x = state
    for t in scheduler.timesteps:
        x = scheduler.step(network(x, t.float().expand(2)), t, x, return_dict=False)[0]
    expected = gs.sample(gs.models.wrap(network, schedule), plan, state=state, progress=False)
    torch.testing.assert_close(x, expected, rtol=1e-5, atol=1e-5)
