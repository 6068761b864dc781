"""What the serving engine vLLM-Omni asks of a scheduler, found by its entry point."""

from __future__ import annotations

import copy
import inspect
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import tomllib
import torch

from tests.integrations.diffusers.pipelines import exact_network, noise, run

diffusers = pytest.importorskip("diffusers")
ours = pytest.importorskip("genie_samplers.integrations.diffusers")

GROUP = "vllm_omni.schedulers"
PYPROJECT = Path(__file__).parents[3] / "pyproject.toml"


def loaded(name: str) -> Any:
    module, _, attribute = tomllib.loads(PYPROJECT.read_text())["project"]["entry-points"][GROUP][name].partition(":")
    return getattr(import_module(module), attribute)


def test_the_entry_points() -> None:
    assert (loaded("genie"), loaded("genie_flow")) == (ours.PlanScheduler, ours.FlowMatchScheduler)


@pytest.mark.parametrize("name", ["genie", "genie_flow"])
def test_a_request_has_a_scheduler_of_its_own(name: str, tmp_path: Path) -> None:
    """Built from the model's folder, copied per request; requests in turn do not disturb each other."""
    diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0).save_pretrained(tmp_path / "scheduler")
    shared = loaded(name).from_pretrained(tmp_path, subfolder="scheduler", local_files_only=True, solver="unipc2")
    assert shared.config.num_train_timesteps == 1000
    assert {"sigmas", "timesteps"} <= inspect.signature(shared.set_timesteps).parameters.keys()
    network, requests, states = exact_network(shared.schedule, "flow_prediction"), [], []
    for steps in (5, 8):
        request = copy.deepcopy(shared)
        request.set_timesteps(num_inference_steps=steps, device="cpu")
        request.set_begin_index(0)
        requests.append(request)
        states.append(noise(seed=steps))
    for number in range(8):
        for place, request in enumerate(requests):
            if number < len(request.timesteps):
                t, x = request.timesteps[number], states[place]
                states[place] = request.step(network(x, t), t, x, return_dict=False, generator=None)[0]
    for steps, state in zip((5, 8), states, strict=True):
        shared.set_timesteps(steps)
        assert torch.equal(run(shared, network, noise(seed=steps)), state)
