"""Every scheduler of table schedules in real pipelines: where the method is diffusers', the images are too."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from .cases import OTHERS, SAME, ours
from .tiny_pipelines import TABLE, Tiny, difference, result, tiny

# 4 steps of a network that answers a difference of its input by a few times as much; 80 roundings of float32
BOUND = 80 * 2.0**-23
DDPM_PIPELINE = [name for name, pair in SAME.items() if pair.generator]
IMG2IMG = [name for name in SAME if "PNDM" not in name]  # see the tests of runs that begin midway


@pytest.fixture(scope="module")
def pipelines() -> dict[str, Tiny]:
    return {name: tiny(name) for name in TABLE}


def _compared(made: Tiny, name: str, **call: Any) -> float:
    theirs, mine = SAME[name].made(made.config)
    expected = result(made, theirs, **call)
    return difference(result(made, mine, **call), expected)


@pytest.mark.parametrize("name", SAME)
def test_stable_diffusion_makes_the_same_latents(name: str, pipelines: dict[str, Tiny]) -> None:
    assert _compared(pipelines["sd"], name) < BOUND


@pytest.mark.parametrize("name", IMG2IMG)
def test_image_to_image_makes_the_same_pictures(name: str, pipelines: dict[str, Tiny]) -> None:
    assert _compared(pipelines["sd img2img"], name) < BOUND


@pytest.mark.parametrize("name", SAME)
def test_inpainting_makes_the_same_latents(name: str, pipelines: dict[str, Tiny]) -> None:
    assert _compared(pipelines["sd inpaint"], name) < BOUND


@pytest.mark.parametrize("name", SAME)
def test_stable_diffusion_xl_makes_the_same_latents(name: str, pipelines: dict[str, Tiny]) -> None:
    assert _compared(pipelines["sdxl"], name) < BOUND


@pytest.mark.parametrize("name", DDPM_PIPELINE)
def test_unconditional_generation_makes_the_same_pictures(name: str, pipelines: dict[str, Tiny]) -> None:
    assert _compared(pipelines["ddpm"], name) < BOUND


@pytest.mark.parametrize("name", [name for name in SAME if name not in DDPM_PIPELINE])
def test_unconditional_generation_takes_classes_that_draw_nothing(name: str, pipelines: dict[str, Tiny]) -> None:
    """It hands its generator to any scheduler; those of diffusers refuse it."""
    made = pipelines["ddpm"]
    _, mine = SAME[name].made(made.config)
    assert result(made, mine).isfinite().all()


@pytest.mark.parametrize("clipped", [False, True], ids=["unclipped", "clipped"])
@pytest.mark.parametrize("eta", [0.0, 0.5])
def test_ddim_s_own_pipeline_makes_the_same_pictures(eta: float, clipped: bool, pipelines: dict[str, Tiny]) -> None:
    theirs, mine = SAME["DDIM"].made({})
    call = {"eta": eta, "use_clipped_model_output": clipped}
    expected = result(pipelines["ddim"], theirs, **call)
    assert difference(result(pipelines["ddim"], mine, **call), expected) < BOUND


@pytest.mark.parametrize("pipeline", ["sd", "sd img2img", "sd inpaint", "sdxl"])
@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.each_value
def test_other_methods_run_to_a_finite_end(other: str, pipeline: str, pipelines: dict[str, Tiny]) -> None:
    made = pipelines[pipeline]
    assert result(made, OTHERS[other](made.config)).isfinite().all()


@pytest.mark.parametrize("name", ["DPM++ 2M", "DDPM", "Heun"])
def test_a_list_of_generators_is_one_per_image(name: str, pipelines: dict[str, Tiny]) -> None:
    made = pipelines["sd"]
    _, mine = SAME[name].made(made.config)
    _, again = SAME[name].made(made.config)
    pair = [torch.Generator().manual_seed(seed) for seed in (5, 6)]
    both = result(made, mine, generator=pair)
    one = {key: made.call[key][1:] for key in ("prompt_embeds", "negative_prompt_embeds")}
    second = result(made, again, generator=[torch.Generator().manual_seed(6)], **one)
    assert difference(both[1:], second) < BOUND


@pytest.mark.parametrize("name", [name for name in SAME if "UniPC" not in name])
def test_a_callback_that_changes_the_latents_is_obeyed_alike(name: str, pipelines: dict[str, Tiny]) -> None:
    def halved(pipe: Any, step: int, t: Any, values: dict[str, Any]) -> dict[str, Any]:
        return {"latents": values["latents"] * 0.5 if step == 1 else values["latents"]}

    assert _compared(pipelines["sd"], name, callback_on_step_end=halved) < BOUND


def test_unipc_goes_on_from_what_a_callback_left() -> None:
    """The corrector of diffusers' class starts at the sample before the callback, which is lost but to the network."""
    scheduler = ours.UniPCScheduler()
    outputs = torch.randn(4, 2, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def run(change: float) -> Tensor:
        scheduler.set_timesteps(4)
        x = torch.zeros(2, 5, dtype=torch.float64)
        for output, t in zip(outputs, scheduler.timesteps, strict=True):
            x = scheduler.step(output, t, x + change if t == scheduler.timesteps[-1] else x, return_dict=False)[0]
        return x

    changed = run(1.0) - run(0.0)
    last = scheduler.plan.rows[-1]
    kept = last.x.x + sum(weight * c.p for weight, c in zip(last.x.y, last.converted, strict=False))
    assert difference(changed, torch.full((2, 5), kept, dtype=torch.float64)) < 1e-12


def test_a_scheduler_made_of_another_s_configuration_takes_its_own_options_alone(pipelines: dict[str, Tiny]) -> None:
    made = pipelines["sd"]
    karras = ours.DPMSolverMultistepScheduler.from_config(made.config, use_karras_sigmas=True, thresholding=True)
    theirs, mine = SAME["DDIM"].made(karras.config)
    assert difference(result(made, mine), result(made, theirs)) < BOUND


@pytest.mark.parametrize("name", ["DDIM", "DPM++ 2M", "UniPC 2", "Euler", "PNDM"])
def test_a_second_generation_is_the_first_again(name: str, pipelines: dict[str, Tiny]) -> None:
    _, mine = SAME[name].made(pipelines["sd"].config)
    assert torch.equal(result(pipelines["sd"], mine), result(pipelines["sd"], mine))
