"""Where a pipeline and a scheduler could part without a message."""

from __future__ import annotations

import importlib
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

import genie_samplers as gs
from tests.integrations.diffusers.pipelines import difference, exact_network, noise, run, sampled

diffusers = pytest.importorskip("diffusers")
ours = pytest.importorskip("genie_samplers.integrations.diffusers")


def plain_ddim(**config: Any) -> Any:
    return ours.DDIMScheduler(clip_sample=False, timestep_spacing="trailing", **config)


def test_edits_in_inference_mode_are_seen() -> None:
    """Whose tensors do not count how often they are written."""
    results = []
    for mode in (torch.inference_mode, torch.no_grad):
        scheduler = ours.DPMSolverMultistepScheduler()
        scheduler.set_timesteps(5)
        with mode():
            x = noise()
            for number, t in enumerate(scheduler.timesteps):
                x = scheduler.step(torch.sin(x), t, x).prev_sample
                if number == 2:
                    x[:, :1] = 0.0
        results.append(x.clone())
    assert torch.equal(*results)


def test_a_configuration_that_is_registered_anew() -> None:
    changed, made = plain_ddim(), plain_ddim(prediction_type="v_prediction", beta_schedule="scaled_linear")
    changed.set_timesteps(6)
    changed.register_to_config(prediction_type="v_prediction", beta_schedule="scaled_linear")
    network = exact_network(made.schedule, "v_prediction")
    assert torch.equal(sampled(changed, network, 6), sampled(made, network, 6))


def test_a_worker_takes_up_every_new_plan() -> None:
    scheduler = ours.FlowMatchScheduler()
    with ThreadPoolExecutor(1) as worker:
        lengths = []
        for steps in (4, 8, 8, 3):
            scheduler.set_timesteps(steps)
            lengths.append(len(worker.submit(lambda: scheduler.timesteps).result()))
    assert lengths == [4, 8, 8, 3]


def test_a_plans_clip_holds_from_the_middle_on() -> None:
    table = gs.schedules.from_diffusers(diffusers.DDPMScheduler())
    plan = gs.make_plan("ddim", table, 6, clip=1.0)
    scheduler = ours.PlanScheduler(plan=plan.to_json())
    scheduler.set_timesteps(6)
    scheduler.set_begin_index(5)
    made = scheduler.step(3.0 * noise(), scheduler.timesteps[5], noise()).prev_sample
    assert float(made.abs().max()) <= 1.0
    with pytest.raises(ValueError, match="which has times of its own"):
        scheduler.set_timesteps(timesteps=[900, 700, 500, 300, 200, 100])
    with pytest.raises(ValueError, match="the plan says its own bound"):
        ours.PlanScheduler(plan=plan.to_json(), thresholding=True)


def test_a_time_outside_the_list_in_the_middle_of_a_run() -> None:
    """DDIM's step from it, noise and all."""
    scheduler, theirs = plain_ddim(), diffusers.DDIMScheduler(clip_sample=False, timestep_spacing="trailing")
    x, out = noise(), noise(seed=2)
    results = []
    for each in (scheduler, theirs):
        each.set_timesteps(10)
        each.step(out, 999, x)
        results.append(each.step(out, 499, x, eta=1.0, variance_noise=noise(seed=3)).prev_sample)
    assert difference(*results) < 2e-5
    drawing = ours.DDPMScheduler(clip_sample=False)
    drawing.set_timesteps(50)
    a, b = (drawing.step(out, 505, x, generator=torch.Generator().manual_seed(k)).prev_sample for k in (0, 1))
    assert not torch.equal(a, b)


@pytest.mark.parametrize("whole", [round, int])
@pytest.mark.parametrize("steps", [8, 9, 30])
@pytest.mark.parametrize(
    "scheduler",
    [
        ours.DPMSolverMultistepScheduler(use_karras_sigmas=True),
        ours.HeunScheduler(timestep_spacing="linspace"),
        ours.EulerScheduler(timestep_spacing="linspace"),
    ],
    ids=["dpmpp", "heun", "euler"],
)
def test_rounded_and_truncated_times_are_those_of_the_list(
    scheduler: Any, steps: int, whole: Callable[[float], int]
) -> None:
    network = exact_network(scheduler.schedule, "epsilon")
    results = []
    for of in (float, whole):
        scheduler.set_timesteps(steps)
        x = noise() * scheduler.init_noise_sigma
        for t in scheduler.timesteps:
            x = scheduler.step(network(scheduler.scale_model_input(x, t), t), of(float(t)), x).prev_sample
        results.append(x)
    assert torch.equal(*results)


def test_noise_of_times_outside_the_list() -> None:
    scheduler = ours.FlowMatchScheduler(solver="euler")
    scheduler.set_timesteps(8)
    scheduler.step(noise(), scheduler.timesteps[0], noise())
    x = torch.zeros(2, 1, 1, 1)
    shares = scheduler.scale_noise(x, torch.tensor([500.5, 250.5]), torch.ones_like(x)).flatten()
    assert shares.tolist() == pytest.approx([0.5005, 0.2505])


def test_inverted_noise_levels_at_the_callers_times() -> None:
    theirs = diffusers.FlowMatchEulerDiscreteScheduler(invert_sigmas=True)
    mine = ours.FlowMatchScheduler.from_config(theirs.config, solver="euler")
    for each in (theirs, mine):
        each.set_timesteps(timesteps=[1000.0, 800.0, 500.0, 100.0])
    assert torch.allclose(mine.timesteps, theirs.timesteps, atol=1e-3)
    with pytest.raises(ValueError, match="which FlowMatchScheduler has"):
        ours.PlanScheduler.from_config(theirs.config)


@pytest.mark.parametrize("config", [{"clip_sample": True}, {"thresholding": True, "sample_max_value": 2.0}])
def test_the_predicted_data_are_those_of_the_step(config: dict[str, Any]) -> None:
    theirs = diffusers.DDIMScheduler(**config)
    mine = ours.DDIMScheduler.from_config(theirs.config)
    made = []
    for each in (theirs, mine):
        each.set_timesteps(10)
        made.append(each.step(noise(seed=4), each.timesteps[0], noise()).pred_original_sample)
    assert difference(*made) < 2e-5


def test_a_pickle_in_the_middle_of_a_run() -> None:
    scheduler = ours.DPMSolverMultistepScheduler()
    network = exact_network(scheduler.schedule, "epsilon")
    expected = sampled(scheduler, network, 6)
    scheduler.set_timesteps(6)
    x = noise()
    for t in scheduler.timesteps[:3]:
        x = scheduler.step(network(x, t), t, x).prev_sample
    assert torch.equal(run(pickle.loads(pickle.dumps(scheduler)), network, x, first=3), expected)


@pytest.mark.parametrize("name", ["DDIM", "DPMSolverMultistep", "Euler"])
def test_the_dtype_of_a_network_under_autocast(name: str) -> None:
    theirs = getattr(diffusers, f"{'EulerDiscrete' if name == 'Euler' else name}Scheduler")()
    dtypes = []
    for each in (theirs, getattr(ours, f"{name}Scheduler").from_config(theirs.config)):
        each.set_timesteps(3)
        each.scale_model_input(noise(), each.timesteps[0])
        dtypes.append(each.step(noise().bfloat16(), each.timesteps[0], noise(), return_dict=False)[0].dtype)
    assert dtypes[0] == dtypes[1]


@pytest.mark.parametrize("output", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("sample", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["DDIM", "DDPM", "Euler", "Heun"])
def test_the_dtypes_of_a_result_are_theirs(name: str, sample: torch.dtype, output: torch.dtype) -> None:
    theirs = getattr(diffusers, f"{name}{'Discrete' if name in ('Euler', 'Heun') else ''}Scheduler")()
    dtypes = []
    for each in (theirs, getattr(ours, f"{name}Scheduler").from_config(theirs.config)):
        each.set_timesteps(3)
        each.scale_model_input(noise(), each.timesteps[0])
        made = each.step(noise().to(output), each.timesteps[0], noise().to(sample))
        dtypes.append((made.prev_sample.dtype, made.pred_original_sample.dtype))
    assert dtypes[0] == dtypes[1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_memory_that_is_put_into_a_sample_is_its_new_value(dtype: torch.dtype) -> None:
    """``x.data = y``, which does not count as writing."""
    results = []
    for assigned in (True, False):
        scheduler = ours.DPMSolverMultistepScheduler()
        scheduler.set_timesteps(5)
        x = noise().to(dtype)
        for number, t in enumerate(scheduler.timesteps):
            x = scheduler.step(torch.sin(x), t, x).prev_sample
            if number == 2 and assigned:
                x.data = 0.5 * x.data
            elif number == 2:
                x = 0.5 * x
        results.append(x)
    assert torch.equal(*results)


def test_gradients_from_the_first_row_on() -> None:
    scheduler = plain_ddim()
    scheduler.set_timesteps(3)
    start = noise((1, 1, 2, 2)).requires_grad_()
    x = start
    for t in scheduler.timesteps:
        x = scheduler.step(torch.sin(x), t, x).prev_sample
    (gradient,) = torch.autograd.grad(x.sum(), start)
    assert float(gradient.abs().min()) > 0.0


def test_another_batch_in_the_middle_of_a_run() -> None:
    """As of a run that begins there."""
    scheduler = plain_ddim()
    scheduler.set_timesteps(3)
    times = scheduler.timesteps
    x = scheduler.step(torch.sin(noise()), times[0], noise()).prev_sample
    both = torch.cat([x, x])
    made = scheduler.step(torch.sin(both), times[1], both).prev_sample
    assert torch.equal(made[:2], made[2:])


def test_a_refused_step_loses_nothing() -> None:
    scheduler = ours.DPMSolverMultistepScheduler()
    network = exact_network(scheduler.schedule, "epsilon")
    expected = sampled(scheduler, network, 5)
    scheduler.set_timesteps(5)
    x = noise()
    for number, t in enumerate(scheduler.timesteps):
        if number == 3:
            with pytest.raises((TypeError, ValueError)):
                scheduler.step(network(x, t).to(torch.int64), t, x)
        x = scheduler.step(network(x, t), t, x).prev_sample
    assert torch.equal(x, expected)


@pytest.mark.parametrize("name", ["DDIM", "UniPC", "Euler", "Plan", "FlowMatch"])
def test_configurations_of_another_kind_are_refused(name: str) -> None:
    """Without betas of its own such a model would silently be given DDPM's table."""
    kind = getattr(ours, f"{name}Scheduler")
    with pytest.raises(ValueError, match="preconditioned"):
        kind.from_config(diffusers.EDMEulerScheduler().config)
    if name not in ("Plan", "FlowMatch"):
        with pytest.raises(ValueError, match="a flow; take FlowMatchScheduler"):
            kind.from_config(diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0).config)


def test_what_a_pipeline_writes_into_times_and_levels_is_its_own() -> None:
    scheduler = ours.EulerScheduler()
    scheduler.set_timesteps(5)
    times, levels = scheduler.timesteps.clone(), scheduler.sigmas.clone()
    scheduler.timesteps.zero_()
    scheduler.sigmas.zero_()
    scheduler.set_timesteps(5)
    assert torch.equal(scheduler.timesteps, times)
    assert torch.equal(scheduler.sigmas, levels)


def test_another_eta_while_another_thread_takes_the_run_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that comes in between has the plan of the eta that it asks for."""
    module = importlib.import_module("genie_samplers.integrations.diffusers.run")
    scheduler, x, z = ours.DDIMScheduler(clip_sample=False), noise(), noise(seed=3)

    def step() -> torch.Tensor:
        return scheduler.step(noise(seed=2), scheduler.timesteps[0], x, eta=1.0, variance_noise=z).prev_sample

    scheduler.set_timesteps(5)
    expected, build = step(), module.built
    scheduler = ours.DDIMScheduler(clip_sample=False)
    scheduler.set_timesteps(5)
    with ThreadPoolExecutor(1) as worker:

        def in_between(wanted: Any) -> Any:
            worker.submit(lambda: scheduler.timesteps).result()
            return build(wanted)

        with monkeypatch.context() as patched:
            patched.setattr(module, "built", in_between)
            assert torch.equal(step(), expected)
        assert torch.equal(worker.submit(step).result(), expected)


@pytest.mark.parametrize(
    "options",
    [
        {"algorithm_type": "sde-dpmsolver++", "solver_type": "heun"},
        {"algorithm_type": "sde-dpmsolver++", "solver_order": 3},
        {"algorithm_type": "sde-dpmsolver"},
    ],
)
def test_methods_that_are_no_plan_here_are_refused_and_not_replaced(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="sde-dpmsolver"):
        ours.DPMSolverMultistepScheduler(**options)


def test_a_bound_of_the_first_noise_level_that_leaves_too_few_times() -> None:
    scheduler = ours.DPMSolverMultistepScheduler(lambda_min_clipped=3.0)
    with pytest.raises(ValueError, match=r"lambda_min_clipped=3.0 leaves \d+ times"):
        scheduler.set_timesteps(50)
