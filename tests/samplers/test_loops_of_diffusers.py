"""Whole loops of schedulers of diffusers against a plan of the schedule, prediction and grid that are read from them.

Tolerance: both sides are float32; a step makes some three roundings of numbers of the state's size, and the network
passes on an error of the state or of the time as less than twice of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import genie_samplers as gs

diffusers = pytest.importorskip("diffusers")

TOLERANCE = 2e-6


def network(x: Tensor, t: Tensor) -> Tensor:
    """Nonlinear in both, per sample; t as diffusers gives it, up to 1000."""
    angle = 3.0 * t.reshape(-1, 1) / 1000.0
    return torch.sin(x + angle) * torch.cos(2.0 * angle) + x * torch.sigmoid(x.flip(1) - angle)


def start() -> Tensor:
    return torch.randn(4, 32, generator=torch.Generator().manual_seed(0))


def loop(scheduler: Any, x: Tensor, function: Any = network) -> Tensor:
    """As a pipeline: one time for all samples."""
    for t in scheduler.timesteps:
        scaled = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
        x = scheduler.step(function(scaled, t.float().expand(len(x))), t, x, return_dict=False)[0]
    return x


def assert_close(x: Tensor, expected: Tensor) -> None:
    assert float((x - expected).abs().max()) <= TOLERANCE * float(expected.abs().max())


# --- flow


@pytest.mark.parametrize("steps", [1, 2, 8, 20])
@pytest.mark.parametrize("shift", [1.0, 3.0, 12.0])
@pytest.mark.parametrize("respacing", [None, "karras", "exponential", "beta"])
@pytest.mark.parametrize("solver", ["ddim", "flow_euler"])
def test_euler_in_t_is_flow_match_euler(solver: str, respacing: str | None, shift: float, steps: int) -> None:
    """From t = 1 itself to 0 itself."""
    options = {} if respacing is None else {f"use_{respacing}_sigmas": True}
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=shift, **options)
    scheduler.set_timesteps(steps)
    model = gs.models.from_diffusers(network, scheduler)  # type: ignore[arg-type]
    plan = gs.make_plan(solver, model.schedule, steps, grid=f"flow_{respacing or 'match'}", model=model)
    assert (plan.times[0], plan.nfe) == (1.0, steps)
    assert_close(gs.sample(model, plan, state=start()), loop(scheduler, start()))


@pytest.mark.parametrize("steps", [2, 8, 20])
@pytest.mark.parametrize("shift", [1.0, 3.0, 12.0])
def test_heun_in_t_is_flow_match_heun(shift: float, steps: int) -> None:
    """Its last step, to 0, is one of Euler; the others divide x - (x - sigma v), rounded twice, by their last sigma."""
    scheduler = diffusers.FlowMatchHeunDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(steps)
    model = gs.models.from_diffusers(network, scheduler)  # type: ignore[arg-type]
    plan = gs.solvers.flow_rk(model.schedule, gs.grids.FLOW_GRIDS["flow_match"](model.schedule, steps), tableau="heun")
    assert plan.nfe == len(scheduler.timesteps) == 2 * steps - 1
    x, expected, levels = gs.sample(model, plan, state=start()), loop(scheduler, start()), scheduler.sigmas[:-1:2]
    lost = 2.0**-24 * float((-levels.diff() / levels[1:]).sum()) * float(start().abs().max())
    assert float((x - expected).abs().max()) <= lost + TOLERANCE * float(expected.abs().max())


@pytest.mark.parametrize("kind", ["exponential", "linear"])
@pytest.mark.parametrize("terminal", [None, 0.1])
def test_dynamic_shifts_are_flow_match_euler_too(kind: str, terminal: float | None) -> None:
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True, time_shift_type=kind, shift_terminal=terminal
    )
    mu = gs.grids.mu_of_length(1024)
    scheduler.set_timesteps(8, mu=mu)
    sigmas = gs.grids.flow_sigmas(8, spacing="flow_match", mu=mu, time_shift_type=kind, shift_terminal=terminal)
    model = gs.models.from_diffusers(network, scheduler, tokens=1024)  # type: ignore[arg-type]
    plan = gs.solvers.ddim(model.schedule, [*sigmas, 0.0], prediction="flow")
    assert_close(gs.sample(model, plan, state=start()), loop(scheduler, start()))


@pytest.mark.parametrize("steps", [2, 8])
def test_an_inverted_schedule_is_a_reversed_network(steps: int) -> None:
    """Mochi: sigma rises from 0 to 1 and the velocity is data - noise."""
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(invert_sigmas=True)
    scheduler.set_timesteps(sigmas=gs.grids.linear_quadratic(steps).tolist())
    model = gs.models.flow_matching(lambda x, t: network(x, 1000.0 * t))
    plan = gs.make_plan("ddim", model.schedule, steps, grid="flow_linear_quadratic", model=model)
    assert_close(gs.sample(model, plan, state=start()), loop(scheduler, start()))


# --- tables


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize("spacing", ["leading", "trailing"])
def test_ddim_is_ddim(spacing: str, prediction: str) -> None:
    """Their step ends at t - 1000 // 8, which with "linspace" is not the next of their times."""
    scheduler = diffusers.DDIMScheduler(timestep_spacing=spacing, prediction_type=prediction, clip_sample=False)
    scheduler.set_timesteps(8)
    model = gs.models.from_diffusers(network, scheduler)  # type: ignore[arg-type]
    plan = gs.make_plan("ddim", model.schedule, 8, grid=spacing, model=model)
    assert_close(gs.sample(model, plan, state=start()), loop(scheduler, start()))


@pytest.mark.parametrize("betas", ["scaled_linear", "squaredcos_cap_v2"])
def test_ddim_from_pure_noise_is_ddim(betas: str) -> None:
    """Zero terminal SNR: the first alpha is 0."""
    scheduler = diffusers.DDIMScheduler(
        beta_schedule=betas, rescale_betas_zero_snr=True, timestep_spacing="trailing", prediction_type="v_prediction",
        clip_sample=False,
    )  # fmt: skip
    scheduler.set_timesteps(8)
    model = gs.models.from_diffusers(network, scheduler)  # type: ignore[arg-type]
    plan = gs.make_plan("ddim", model.schedule, 8, grid="trailing", model=model)
    assert_close(gs.sample(model, plan, state=start()), loop(scheduler, start()))


# --- EDM


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_euler_on_karras_is_edm_euler(prediction: str) -> None:
    scheduler = diffusers.EDMEulerScheduler(prediction_type=prediction)
    scheduler.set_timesteps(8)
    model = gs.models.from_diffusers(network, scheduler)  # type: ignore[arg-type]
    plan = gs.make_plan("ddim", model.schedule, 8, grid="karras", denoise=True, model=model)
    np.testing.assert_allclose(plan.times, scheduler.sigmas[:-1].double().numpy(), rtol=4 * 2.0**-24)
    x = 80.0 * start()
    assert_close(gs.sample(model, plan, state=x.clone()), loop(scheduler, x.clone()))
