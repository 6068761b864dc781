"""set_timesteps with the arguments of the last time takes the plan up again, and with others does not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from .cases import diffusers, ours

START = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))


def _run(scheduler: Any, steps: int | None = 5, **given: Any) -> Tensor:
    scheduler.set_timesteps(steps, **given)
    x = START
    for t in scheduler.timesteps:
        x = scheduler.step(torch.sin(x), t, x, return_dict=False)[0]
    return x


@pytest.mark.parametrize(
    "kind", ["DDIMScheduler", "UniPCScheduler", "EulerScheduler", "PNDMScheduler", "PlanScheduler"]
)
def test_the_same_again_is_the_same_plan_and_result(kind: str) -> None:
    scheduler = getattr(ours, kind)()
    first, plan = _run(scheduler), scheduler.plan
    assert torch.equal(_run(scheduler), first)
    assert scheduler.plan is plan


def test_an_interrupted_run_leaves_nothing_to_the_next() -> None:
    scheduler = ours.DPMSolverMultistepScheduler()
    first = _run(scheduler)
    scheduler.set_timesteps(5)
    scheduler.step(torch.cos(START), scheduler.timesteps[0], START)
    assert torch.equal(_run(scheduler), first)


def test_what_a_pipeline_writes_into_the_times_is_its_own() -> None:
    scheduler = ours.UniPCScheduler()
    first = _run(scheduler)
    scheduler.timesteps.zero_()
    assert torch.equal(_run(scheduler), first)


def test_another_shift_is_another_plan() -> None:
    """On the same sigmas; the default ones keep the end of the configured shift, as diffusers' do."""
    scheduler = ours.FlowMatchScheduler(shift=3.0, solver="euler")
    sigmas = [1.0, 0.75, 0.5, 0.25]
    _run(scheduler, None, sigmas=sigmas)
    scheduler.set_shift(1.0)
    expected = _run(ours.FlowMatchScheduler(shift=1.0, solver="euler"), None, sigmas=sigmas)
    assert torch.equal(_run(scheduler, None, sigmas=sigmas), expected)


def test_a_configuration_that_a_pipeline_replaced_is_another_plan() -> None:
    """As Stable Diffusion's does with ``steps_offset``."""
    scheduler, expected = ours.DDIMScheduler(clip_sample=False), ours.DDIMScheduler(clip_sample=False, steps_offset=1)
    _run(scheduler)
    scheduler._internal_dict = diffusers.configuration_utils.FrozenDict({**scheduler.config, "steps_offset": 1})
    assert torch.equal(_run(scheduler), _run(expected))


def test_other_sigmas_are_another_plan() -> None:
    scheduler = ours.FlowMatchScheduler(solver="euler")
    _run(scheduler, None, sigmas=[1.0, 0.5])
    again = _run(scheduler, None, sigmas=[1.0, 0.25])
    assert torch.equal(again, _run(ours.FlowMatchScheduler(solver="euler"), None, sigmas=[1.0, 0.25]))


def test_eta_of_one_generation_is_not_of_the_next() -> None:
    scheduler = ours.DDIMScheduler(clip_sample=False)
    first = _run(scheduler)
    scheduler.set_timesteps(5)
    scheduler.step(torch.sin(START), scheduler.timesteps[0], START, eta=1.0)
    assert torch.equal(_run(scheduler), first)
