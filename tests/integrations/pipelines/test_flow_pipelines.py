"""Every scheduler of flow matching in real pipelines: where the method is diffusers', the latents are too."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

from .cases import FLOW_MULTISTEP, SAME_TIMES, ours
from .tiny_pipelines import FLOW, Tiny, difference, result, tiny

diffusers: Any = pytest.importorskip("diffusers", reason="the pipelines are its own")

# 4 steps of a network that answers a difference of its input by a few times as much; 80 roundings of float32
BOUND = 80 * 2.0**-23
EULER, HEUN = diffusers.FlowMatchEulerDiscreteScheduler, diffusers.FlowMatchHeunDiscreteScheduler
WITHOUT_SIGMAS = ["sd3", "sd3 img2img", "wan", "sana"]  # which diffusers' Heun cannot take
SOLVERS = ["auto", "flow_ab2", "dpmpp_2m", "dpmpp_2m_sde", "unipc3", "deis_log_ab1", "ipndm2", "flow_midpoint"]


@pytest.fixture(scope="module")
def pipelines() -> dict[str, Tiny]:
    return {name: tiny(name) for name in FLOW}


def _flow_match(made: Tiny) -> Any:
    """The configuration of the pipeline, of Wan's and SANA's the flow alone."""
    return {"shift": made.config["flow_shift"]} if "flow_shift" in made.config else made.config


@pytest.mark.parametrize("name", FLOW)
def test_euler_makes_the_same_latents(name: str, pipelines: dict[str, Tiny]) -> None:
    made, config = pipelines[name], _flow_match(pipelines[name])
    expected = result(made, EULER.from_config(config))
    assert difference(result(made, ours.FlowMatchScheduler.from_config(config, solver="euler")), expected) < BOUND


@pytest.mark.parametrize("name", WITHOUT_SIGMAS)
def test_heun_makes_the_same_latents(name: str, pipelines: dict[str, Tiny]) -> None:
    made, shift = pipelines[name], 3.0
    expected = result(made, HEUN(shift=shift))
    assert difference(result(made, ours.FlowMatchScheduler(shift=shift, solver="heun")), expected) < BOUND


@pytest.mark.parametrize("name", ["sd3", "flux", "wan", "sana", "ltx"])
def test_stochastic_sampling_draws_what_diffusers_draws(name: str, pipelines: dict[str, Tiny]) -> None:
    made, config = pipelines[name], {**_flow_match(pipelines[name]), "stochastic_sampling": True}
    expected = result(made, EULER.from_config(config))
    assert difference(result(made, ours.FlowMatchScheduler.from_config(config)), expected) < BOUND


@pytest.mark.parametrize("name", ["sd3", "wan", "sana"])
@pytest.mark.parametrize("method", [name for name in SAME_TIMES if name != "UniPC"])
def test_multistep_methods_differ_by_truncated_times_alone(method: str, name: str, pipelines: dict[str, Tiny]) -> None:
    theirs, mine = SAME_TIMES[method].made({})
    expected = result(pipelines[name], theirs)
    assert difference(result(pipelines[name], mine), expected) < BOUND


def test_unipc_differs_by_its_start_below_1_besides(pipelines: dict[str, Tiny]) -> None:
    theirs, mine = SAME_TIMES["UniPC"].made({"flow_shift": 1.0})
    theirs.register_to_config(flow_shift=1.0)
    mine.register_to_config(flow_shift=1.0)
    sigmas = np.array([1.0 - 1e-6, 0.8, 0.5, 0.2])  # where their first step begins
    expected = result(pipelines["sd3"], theirs, None, sigmas=sigmas)
    assert difference(result(pipelines["sd3"], mine, None, sigmas=sigmas), expected) < BOUND


@pytest.mark.parametrize("name", FLOW)
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.each_value
def test_every_solver_runs_to_a_finite_end(solver: str, name: str, pipelines: dict[str, Tiny]) -> None:
    made, config = pipelines[name], _flow_match(pipelines[name])
    scheduler = ours.FlowMatchScheduler.from_config(config, solver=solver)
    assert result(made, scheduler).isfinite().all()


@pytest.mark.parametrize("name", FLOW)
@pytest.mark.parametrize("kind", ["PlanScheduler", "UniPCScheduler", "DPMSolverMultistepScheduler", "IPNDMScheduler"])
@pytest.mark.each_value
def test_classes_of_tables_take_flow_sigmas(kind: str, name: str, pipelines: dict[str, Tiny]) -> None:
    made = pipelines[name]
    scheduler = getattr(ours, kind).from_config(made.config, **FLOW_MULTISTEP)
    assert result(made, scheduler).isfinite().all()


def test_auto_in_few_steps_is_nearer_than_euler(pipelines: dict[str, Tiny]) -> None:
    made = pipelines["sd3"]
    exact = result(made, HEUN(shift=3.0), 60)
    euler = difference(result(made, EULER(shift=3.0), 8), exact)
    assert difference(result(made, ours.FlowMatchScheduler(shift=3.0), 8), exact) < 0.5 * euler


def test_ltx_copies_the_scheduler_for_sound_or_video_of_its_own(pipelines: dict[str, Tiny]) -> None:
    """LTX-2 steps two copies side by side: each goes its own way."""
    scheduler = ours.FlowMatchScheduler(shift=3.0, solver="dpmpp_2m")
    scheduler.set_timesteps(4)
    twin = copy.deepcopy(scheduler)
    x, y = torch.ones(1, 4), torch.ones(2, 6)
    for t in scheduler.timesteps:
        x = scheduler.step(0.5 * x, t, x, return_dict=False)[0]
        y = twin.step(0.5 * y, t, y, return_dict=False)[0]
    assert torch.equal(x[0], y[0, :4]) and torch.equal(y, y[:1, :1].expand(2, 6))


def test_wan_reads_the_noise_level_of_each_step(pipelines: dict[str, Tiny]) -> None:
    made, seen = pipelines["wan"], []
    made.pipe.scheduler = ours.FlowMatchScheduler(shift=3.0)

    def look(pipe: Any, step: int, t: Any, values: dict[str, Any]) -> dict[str, Any]:
        seen.append((float(t), 1000.0 * float(pipe.scheduler.sigmas[step])))
        return {}

    made.pipe(num_inference_steps=4, callback_on_step_end=look, **made.call)
    assert [t for t, _ in seen] == pytest.approx([level for _, level in seen], rel=2.0**-23)
    assert len(seen) == 4


@pytest.mark.parametrize("solver", ["euler", "dpmpp_2m", "auto"])
def test_half_precision_keeps_the_state_in_float32(solver: str, pipelines: dict[str, Tiny]) -> None:
    """The steps of a run in bfloat16, of outputs that were rounded, against float64 of the same outputs."""
    scheduler = ours.FlowMatchScheduler(shift=3.0, solver=solver)
    outputs = torch.randn(8, 2, 16, generator=torch.Generator().manual_seed(0)).bfloat16()
    half, wide = (_run(scheduler, outputs.to(dtype)) for dtype in (torch.bfloat16, torch.float64))
    assert half.dtype == torch.bfloat16
    assert torch.equal(half, wide.bfloat16()) or difference(half, wide) <= 2.0**-8


def _run(scheduler: Any, outputs: torch.Tensor) -> torch.Tensor:
    scheduler.set_timesteps(len(outputs))
    x = torch.ones_like(outputs[0])
    for output, t in zip(outputs, scheduler.timesteps, strict=True):
        x = scheduler.step(output, t, x, return_dict=False)[0]
    return x
