"""Where the method is the same, the same result as the class of diffusers 0.42.1 whose configuration is taken over.

Tolerance: theirs make some ten roundings of numbers of the state's size per step and their tables in float32, whose
cumulative products and differences of logarithms lose up to 1e-5 of a step.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.integrations.diffusers.pipelines import difference, exact_network, noise, run, sampled

diffusers = pytest.importorskip("diffusers")
ours = pytest.importorskip("genie_samplers.integrations.diffusers")

TOLERANCE = 2e-5
SD = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "steps_offset": 1}
CELLS = [
    ("DDIMScheduler", "DDIMScheduler", {}),
    ("DDIMScheduler", "DDIMScheduler", {"clip_sample": False, **SD, "set_alpha_to_one": False}),
    ("DDIMScheduler", "DDIMScheduler", {"timestep_spacing": "trailing", "clip_sample_range": 2.0}),
    ("DDIMScheduler", "DDIMScheduler", {"clip_sample": False, "thresholding": True, "sample_max_value": 2.0}),
    ("DDPMScheduler", "DDPMScheduler", {}),
    ("DDPMScheduler", "DDPMScheduler", {"variance_type": "fixed_large", "clip_sample": False}),
    ("DEISMultistepScheduler", "DEISScheduler", {"solver_order": 1}),
    ("DEISMultistepScheduler", "DEISScheduler", {"solver_order": 2}),
    ("DEISMultistepScheduler", "DEISScheduler", {"solver_order": 3, "timestep_spacing": "leading"}),
    ("DPMSolverMultistepScheduler", "DPMSolverMultistepScheduler", {}),
    ("DPMSolverMultistepScheduler", "DPMSolverMultistepScheduler", {"solver_order": 3, "lower_order_final": False}),
    ("DPMSolverMultistepScheduler", "DPMSolverMultistepScheduler", {"solver_type": "heun", **SD}),
    ("DPMSolverMultistepScheduler", "DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    ("DPMSolverMultistepScheduler", "DPMSolverMultistepScheduler", {"thresholding": True}),
    (
        "DPMSolverMultistepScheduler",
        "DPMSolverMultistepScheduler",
        {"euler_at_final": True, "lower_order_final": False},
    ),
    ("DPMSolverMultistepScheduler", "DPMSolverMultistepScheduler", {"final_sigmas_type": "sigma_min"}),
    ("UniPCMultistepScheduler", "UniPCScheduler", {}),
    ("UniPCMultistepScheduler", "UniPCScheduler", {"solver_order": 3, "timestep_spacing": "trailing"}),
    ("EulerDiscreteScheduler", "EulerScheduler", {"timestep_spacing": "trailing"}),
    ("EulerDiscreteScheduler", "EulerScheduler", {"timestep_spacing": "leading", **SD}),
    ("HeunDiscreteScheduler", "HeunScheduler", {}),
    ("HeunDiscreteScheduler", "HeunScheduler", {"use_karras_sigmas": True, "timestep_spacing": "trailing"}),
]


def pair(theirs: str, mine: str, config: dict[str, Any]) -> tuple[Any, Any]:
    original = getattr(diffusers, theirs)(**config)
    return original, getattr(ours, mine).from_config(original.config)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("steps", [10, 20])
@pytest.mark.parametrize(("theirs", "mine", "config"), CELLS)
def test_the_same_result(theirs: str, mine: str, config: dict[str, Any], steps: int, prediction: str) -> None:
    original, scheduler = pair(theirs, mine, {"prediction_type": prediction, **config})
    network = exact_network(scheduler.schedule, prediction)
    expected = sampled(original, network, steps)
    assert difference(sampled(scheduler, network, steps), expected) < TOLERANCE
    assert torch.allclose(scheduler.timesteps.float(), original.timesteps.float(), atol=0.05)


@pytest.mark.parametrize("spacing", ["linspace", "leading", "trailing"])
@pytest.mark.parametrize(
    "config",
    [
        {"lambda_min_clipped": -2.0},
        {"lambda_min_clipped": -5.1, "beta_schedule": "squaredcos_cap_v2", "steps_offset": 1},
    ],
)
def test_a_least_log_snr_of_the_first_time(config: dict[str, Any], spacing: str) -> None:
    """Of cosine betas, whose last time has almost no signal."""
    name = "DPMSolverMultistepScheduler"
    original, scheduler = pair(name, name, {"timestep_spacing": spacing, **config})
    network = exact_network(scheduler.schedule, "epsilon")
    assert difference(sampled(scheduler, network, 10), sampled(original, network, 10)) < TOLERANCE
    assert torch.equal(scheduler.timesteps, original.timesteps)


@pytest.mark.parametrize("name", ["DPMSolverMultistep", "UniPC", "Euler"])
def test_karras_noise_levels(name: str) -> None:
    """Their times are rounded, or interpolated in log sigma; float32 loses 3e-4 of 1 - alpha-bar at the first entry."""
    theirs = {"DPMSolverMultistep": name, "UniPC": "UniPCMultistep", "Euler": "EulerDiscrete"}[name]
    original, scheduler = pair(f"{theirs}Scheduler", f"{name}Scheduler", {"use_karras_sigmas": True})
    for each in (original, scheduler):
        each.set_timesteps(20)
    assert torch.allclose(scheduler.sigmas, original.sigmas, rtol=3e-4)
    assert float((scheduler.timesteps.float() - original.timesteps.float()).abs().max()) <= 0.5


@pytest.mark.parametrize("steps", [10, 28])
def test_eulers_linspace(steps: int) -> None:
    """Of whole times; between two of them theirs is linear in sigma, ours in log alpha."""
    original, scheduler = pair("EulerDiscreteScheduler", "EulerScheduler", {})
    network = exact_network(scheduler.schedule, "epsilon")
    assert difference(sampled(scheduler, network, steps), sampled(original, network, steps)) < TOLERANCE


@pytest.mark.parametrize("config", [{"steps_offset": 1}, {**SD, "skip_prk_steps": True}])
@pytest.mark.parametrize("steps", [10, 20])
def test_pndm_of_a_network_that_predicts_noise(config: dict[str, Any], steps: int) -> None:
    original, scheduler = pair("PNDMScheduler", "PNDMScheduler", config)
    network = exact_network(scheduler.schedule, "epsilon")
    assert difference(sampled(scheduler, network, steps), sampled(original, network, steps)) < TOLERANCE
    assert scheduler.timesteps.tolist() == original.timesteps.tolist()


@pytest.mark.parametrize(("theirs", "mine", "config"), CELLS[::3])
def test_halfway_and_from_the_middle_of_a_list(theirs: str, mine: str, config: dict[str, Any]) -> None:
    """Image to image: begin_index, noise added to a picture."""
    original, scheduler = pair(theirs, mine, config)
    network, picture, results = exact_network(scheduler.schedule, "epsilon"), 0.5 * noise(seed=3), []
    for each in (original, scheduler):
        each.set_timesteps(10)
        first = 4 * each.order
        if hasattr(each, "set_begin_index"):
            each.set_begin_index(first)
        x = each.add_noise(picture, noise(), each.timesteps[first : first + 1])
        results.append(run(each, network, x, first=first))
    assert difference(*results) < TOLERANCE


def test_noise_is_drawn_as_diffusers_draws_it() -> None:
    """From a list of generators, one per sample."""
    original, scheduler = pair("DDPMScheduler", "DDPMScheduler", {})
    network = exact_network(scheduler.schedule, "epsilon")
    results = []
    for each in (original, scheduler):
        each.set_timesteps(6)
        generators = [torch.Generator().manual_seed(seed) for seed in (5, 6)]
        results.append(run(each, network, noise(), generator=generators))
    assert difference(*results) < TOLERANCE


def test_eta_of_ddim() -> None:
    original, scheduler = pair("DDIMScheduler", "DDIMScheduler", {})
    network = exact_network(scheduler.schedule, "epsilon")
    results = []
    for each in (original, scheduler):
        each.set_timesteps(6)
        results.append(run(each, network, noise(), eta=0.7, use_clipped_model_output=True))
    assert difference(*results) < TOLERANCE


@pytest.mark.parametrize(("theirs", "mine", "config"), CELLS)
def test_the_predicted_clean_data(theirs: str, mine: str, config: dict[str, Any]) -> None:
    original, scheduler = pair(theirs, mine, {**config, "clip_sample": False} if "DDIM" in theirs else config)
    if not scheduler.gives_x0 or config.get("thresholding") or "DDPM" in theirs:
        pytest.skip("of classes whose step returns it, unclamped")
    made = []
    for each in (original, scheduler):
        each.set_timesteps(4)
        x = noise() * each.init_noise_sigma
        each.scale_model_input(x, each.timesteps[0])
        made.append(each.step(0.9 * noise(), each.timesteps[0], x))
    if "Heun" in theirs:
        pytest.skip("their class returns none")
    assert difference(made[1].pred_original_sample, made[0].pred_original_sample) < TOLERANCE


@pytest.mark.parametrize(("theirs", "mine", "config"), CELLS)
def test_training_targets(theirs: str, mine: str, config: dict[str, Any]) -> None:
    original, scheduler = pair(theirs, mine, config)
    times = torch.tensor([10, 700])
    picture = noise((2, 1, 4, 4), 7)
    original.set_timesteps(100)
    scheduler.set_timesteps(100)
    if hasattr(original, "get_velocity") and not scheduler.sigma_space:
        expected = original.get_velocity(picture, noise((2, 1, 4, 4)), times)
        assert difference(scheduler.get_velocity(picture, noise((2, 1, 4, 4)), times), expected) < TOLERANCE
    on_grid = original.timesteps[torch.tensor([4, 60])]
    expected = original.add_noise(picture, noise((2, 1, 4, 4)), on_grid)
    assert difference(scheduler.add_noise(picture, noise((2, 1, 4, 4)), on_grid), expected) < TOLERANCE
