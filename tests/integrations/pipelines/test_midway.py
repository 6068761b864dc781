"""Runs that begin midway, as image to image and inpainting do: PNDM, and pipelines that noise an image first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import genie_samplers as gs

from .cases import ours
from .tiny_pipelines import difference, result, tiny


def _network(x: Tensor, t: float) -> Tensor:
    return torch.sin(x + t / 1000.0)


def _run(scheduler: Any, begin: int, x: Tensor, asked: list[float] | None = None) -> Tensor:
    """The steps from this index on."""
    scheduler.set_begin_index(begin)
    for t in scheduler.timesteps[begin:]:
        x = scheduler.step(_network(x, float(t)), t, x, return_dict=False)[0]
        if asked is not None:
            asked.append(float(t))
    return x


def _by_plan(scheduler: Any, solver: str, times: list[float], x: Tensor) -> Tensor:
    plan = gs.make_plan(solver, scheduler.schedule, times=times, prediction="epsilon")
    return gs.sample(lambda x, t: _network(x, float(t[0])), plan, state=x)


STATE = torch.randn(2, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
OPTIONS: Any = {"steps_offset": 1, "timestep_spacing": "leading"}


@pytest.mark.parametrize("begin", [2, 3, 5])
def test_pndm_begun_midway_takes_four_outputs_as_soon_as_there_are_four(begin: int) -> None:
    scheduler = ours.PNDMScheduler(**OPTIONS, skip_prk_steps=True)
    scheduler.set_timesteps(7)
    made = _run(scheduler, begin, STATE)
    expected = _by_plan(scheduler, "ipndm4", [*scheduler.timesteps[begin:].tolist(), 0.0], STATE)
    assert difference(made, expected) < 1e-12


def test_pndm_begun_where_it_would_ask_twice_steps_once() -> None:
    scheduler = ours.PNDMScheduler(**OPTIONS, skip_prk_steps=True)
    scheduler.set_timesteps(7)
    assert scheduler.timesteps[1] == scheduler.timesteps[2]
    made = _run(scheduler, 1, STATE)
    expected = _by_plan(scheduler, "ipndm4", [*scheduler.timesteps[2:].tolist(), 0.0], STATE)
    assert difference(made, expected) < 1e-12


@pytest.mark.parametrize("begin", [1, 4, 6, 12, 13])
def test_pndm_begun_within_runge_kutta_goes_on_at_the_times_that_are_left(begin: int) -> None:
    scheduler = ours.PNDMScheduler(**OPTIONS)
    scheduler.set_timesteps(7)
    made = _run(scheduler, begin, STATE)
    left = list(dict.fromkeys(scheduler.timesteps[begin:].tolist()))
    expected = _by_plan(scheduler, "deis_log_ab2", [*left, 0.0], STATE)
    assert difference(made, expected) < 1e-12


def test_a_run_from_the_first_time_after_one_midway_has_its_warm_up_again() -> None:
    scheduler = ours.PNDMScheduler(**OPTIONS, skip_prk_steps=True)
    scheduler.set_timesteps(7)
    first = _run(scheduler, 0, STATE)
    _run(scheduler, 2, STATE)
    assert torch.equal(_run(scheduler, 0, STATE), first)


@pytest.mark.parametrize("strength", [0.3, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("skip", [False, True], ids=["runge_kutta", "multistep"])
def test_image_to_image_with_pndm_runs_at_every_strength(skip: bool, strength: float) -> None:
    made = tiny("sd img2img")
    scheduler = ours.PNDMScheduler.from_config(made.config, skip_prk_steps=skip)
    pictures = result(made, scheduler, 6, strength=strength)
    assert pictures.isfinite().all()


@pytest.mark.parametrize("kind", ["DDIMScheduler", "DPMSolverMultistepScheduler", "UniPCScheduler", "PNDMScheduler"])
def test_image_to_image_of_no_strength_to_speak_of_returns_the_image(kind: str) -> None:
    """One step of a thousand: what the decoder makes of the encoded image, but for its noise."""
    made = tiny("sd img2img")
    vae = made.pipe.vae
    scheduler = getattr(ours, kind).from_config(made.config, timestep_spacing="trailing")
    latents = result(made, scheduler, 1000, strength=0.001, output_type="latent")
    pictures = made.pipe.image_processor.preprocess(made.call["image"])
    with torch.no_grad():
        encoded = vae.encode(pictures).latent_dist
    level = float(scheduler.schedule.gamma(0.0)) + float(encoded.std.max()) * vae.config.scaling_factor * 5.0
    assert float((latents - encoded.mean * vae.config.scaling_factor).abs().max()) < 10.0 * level


@pytest.mark.parametrize(
    "scheduler",
    [
        ours.FlowMatchScheduler(shift=3.0, solver="heun"),
        ours.FlowMatchScheduler(shift=3.0, solver="flow_midpoint"),
        ours.FlowMatchScheduler(shift=3.0, solver="flow_rk4"),
        ours.DEISScheduler(variant="rho_rk", solver_order=3),
        ours.HeunScheduler(),
    ],
    ids=["heun", "midpoint", "rk4", "rho_rk", "sigma"],
)
def test_order_says_how_many_evaluations_a_step_makes(scheduler: Any) -> None:
    """By which pipelines count where to begin."""
    scheduler.set_timesteps(4)
    times = np.array(scheduler.plan.recipe.grid if scheduler.plan.recipe else scheduler._run.built.times)
    first = scheduler._run.built.asked[scheduler.order]
    assert first == times[1] and scheduler._run.built.asked[0] == times[0]
