"""Steps and generators that cannot be meant, and the least number of steps."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.integrations.diffusers.pipelines import noise

diffusers: Any = pytest.importorskip("diffusers")
ours: Any = pytest.importorskip("genie_samplers.integrations.diffusers")


@pytest.mark.parametrize("option", ["use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"])
@pytest.mark.parametrize("name", ["EulerDiscrete", "HeunDiscrete", "DPMSolverMultistep", "UniPCMultistep"])
def test_one_step_on_noise_levels_begins_in_pure_noise(name: str, option: str) -> None:
    """Euler's range of levels is that of its spaced times, of which there is one."""
    theirs = getattr(diffusers, f"{name}Scheduler")(timestep_spacing="trailing", **{option: True})
    mine = getattr(ours, f"{name.replace('Discrete', '').replace('UniPCMultistep', 'UniPC')}Scheduler").from_config(
        theirs.config
    )
    mine.set_timesteps(1)
    made = mine.step(noise(seed=1), mine.timesteps[0], noise()).prev_sample
    theirs.set_timesteps(1)
    assert float(mine.sigmas[0]) == pytest.approx(float(theirs.sigmas[0]), rel=1e-4)
    assert made.isfinite().all()


@pytest.mark.parametrize("steps", [5.5, True, "5", [5]])
@pytest.mark.parametrize("name", ["UniPC", "DDIM", "FlowMatch", "Plan"])
def test_a_number_of_steps_that_is_no_whole_number_is_refused(name: str, steps: Any) -> None:
    with pytest.raises(TypeError, match="num_inference_steps"):
        getattr(ours, f"{name}Scheduler")().set_timesteps(steps)


@pytest.mark.parametrize("count", [0, 2])
def test_a_list_of_generators_of_another_length_is_refused(count: int) -> None:
    scheduler, x = ours.DDPMScheduler(), noise((3, 4, 8, 8))
    scheduler.set_timesteps(4)
    with pytest.raises(ValueError, match="but the batch has 3 samples"):
        scheduler.step(x, scheduler.timesteps[0], x, generator=[torch.Generator()] * count)
    assert scheduler.step(x, scheduler.timesteps[0], x).prev_sample.isfinite().all()


def test_times_and_levels_that_do_not_fall_are_shown_as_they_were_given() -> None:
    with pytest.raises(ValueError, match=r"timesteps=\[10.0, 20.0\]: `timesteps` must be in descending order"):
        ours.DDIMScheduler().set_timesteps(timesteps=[10, 20])
    with pytest.raises(ValueError, match=r"sigmas=\[1.0, 2.0\]: `sigmas` must be in descending order"):
        ours.EulerScheduler().set_timesteps(sigmas=[1.0, 2.0])
