"""sample(pipe, ...): a pipeline's parts around our loop make what the pipeline makes with the same plan."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import genie_samplers as gs

from .tiny_pipelines import difference, sd, sdxl

ours = pytest.importorskip("genie_samplers.integrations.diffusers")

WORDS = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")
ROUNDINGS = 200 * torch.finfo(torch.float32).eps  # guidance is summed in another order, and multiplied by 3


@pytest.fixture(params=[sd, sdxl], ids=["sd", "sdxl"])
def tiny(request: pytest.FixtureRequest) -> Any:
    made = request.param()
    made.pipe.set_progress_bar_config(disable=True)
    return made


def words(tiny: Any) -> dict[str, Tensor]:
    return {name: tiny.call[name] for name in WORDS if name in tiny.call}


def first_input(tiny: Any, **options: Any) -> tuple[Any, Tensor]:
    """What sample makes, and the latents that its network saw first."""
    seen: list[Tensor] = []
    hook = tiny.pipe.unet.register_forward_pre_hook(lambda _, args: seen.append(args[0].clone()))
    made = ours.sample(tiny.pipe, **words(tiny), **options)
    hook.remove()
    return made, seen[0][:2]


@pytest.mark.parametrize("guidance", [3.0, 1.0])
def test_the_same_latents_as_the_pipeline(tiny: Any, guidance: float) -> None:
    plan = gs.make_plan("dpmpp_2m", gs.schedules.from_diffusers(tiny.pipe.scheduler), 5)
    size = {"height": 16, "width": 16}
    made, latents = first_input(tiny, plan=plan, guidance=guidance, output_type="latent", **size)
    tiny.pipe.scheduler = ours.PlanScheduler.from_config(tiny.pipe.scheduler.config, plan=plan.to_json())
    call = {**tiny.call, "guidance_scale": guidance, "latents": latents}
    expected = tiny.pipe(**call, num_inference_steps=5).images
    assert made.shape == expected.shape
    assert difference(made, expected) < ROUNDINGS


def test_a_scale_per_image_and_pictures(tiny: Any) -> None:
    """Which no stock pipeline has; the second image is that of its own scale alone."""
    size = {"height": 16, "width": 16, "nfe": 3, "plan": "ddim", "batch_size": 2}
    both = ours.sample(tiny.pipe, **words(tiny), guidance=[1.5, 4.0], output_type="latent", **size)
    second = ours.sample(tiny.pipe, **words(tiny), guidance=4.0, output_type="latent", **size)
    assert torch.equal(both[1], second[1])
    assert not torch.allclose(both[0], second[0])
    pictures = ours.sample(tiny.pipe, **words(tiny), **size)
    assert [picture.size for picture in pictures] == [(16, 16)] * 2


def decoded(tiny: Any) -> tuple[Tensor, Tensor]:
    """The latents, and what the decoder is given of them."""
    options: dict[str, Any] = {**words(tiny), "plan": "ddim", "nfe": 2, "guidance": 1.0, "height": 16, "width": 16}
    latents, vae, seen = ours.sample(tiny.pipe, output_type="latent", **options), tiny.pipe.vae, []
    decode = vae.decode
    vae.decode = lambda z, **call: seen.append(z) or decode(z, **call)
    ours.sample(tiny.pipe, output_type="pt", **options)
    vae.decode = decode
    return latents, seen[0]


def test_latents_are_decoded_with_the_mean_and_deviation_that_the_decoder_names(tiny: Any) -> None:
    mean, deviation = [0.5, -1.0, 0.0, 2.0], [2.0, 1.0, 0.5, 3.0]
    tiny.pipe.vae.register_to_config(latents_mean=mean, latents_std=deviation)
    latents, given = decoded(tiny)
    shift, scale = (torch.tensor(v).reshape(1, 4, 1, 1) for v in (mean, deviation))
    assert torch.equal(given, latents * scale / tiny.pipe.vae.config.scaling_factor + shift)


def test_a_decoder_that_overflows_in_half_precision_runs_in_float32_and_is_left_as_it_was(tiny: Any) -> None:
    tiny.pipe.vae.to(torch.float16).register_to_config(force_upcast=True)
    _, given = decoded(tiny)
    assert given.dtype == torch.float32
    assert tiny.pipe.vae.dtype == torch.float16
