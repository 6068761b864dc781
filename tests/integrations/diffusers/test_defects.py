"""Right where classes of diffusers 0.42.1 are wrong; the numbers are those of its issue threads."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch

from tests.integrations.diffusers.pipelines import MEAN, VARIANCE, deviation, exact_network, noise, run, sampled

pytest.importorskip("diffusers")
ours = pytest.importorskip("genie_samplers.integrations.diffusers")

TABLE_CLASSES = ["DDIM", "DDPM", "DEIS", "IPNDM", "DPMSolverMultistep", "UniPC", "Euler", "Heun", "Plan"]
RESPACED = ["use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas"]


def make(name: str, **config: Any) -> Any:
    return getattr(ours, f"{name}Scheduler")(**config)


@pytest.mark.parametrize("spacing", ["linspace", "trailing", "leading"])
@pytest.mark.parametrize("steps", [3, 7, 10, 13])
def test_a_step_of_ddim_ends_at_the_next_time_of_the_list(spacing: str, steps: int) -> None:
    """huggingface/diffusers#14357, #12633: theirs ends at t - 1000 // N, 899 in place of 888 of linspace at 10."""
    scheduler = make("DDIM", timestep_spacing=spacing, clip_sample=False)
    scheduler.set_timesteps(steps)
    times, x, out = scheduler.timesteps.tolist(), noise(), 0.7 * noise(seed=2)
    schedule = scheduler.schedule
    for t, t_next in zip(times, [*times[1:], -1], strict=True):
        alpha, sigma = float(schedule.alpha(t)), float(schedule.sigma(t))
        alpha_next, sigma_next = float(schedule.alpha(t_next)), float(schedule.sigma(t_next))
        expected = alpha_next * (x.double() - sigma * out.double()) / alpha + sigma_next * out.double()
        made = scheduler.step(out, t, x, return_dict=False)[0]
        assert torch.allclose(made.double(), expected, rtol=0.0, atol=float(1e-6 * expected.abs().max()))


@pytest.mark.parametrize("respaced", RESPACED)
@pytest.mark.parametrize("name", ["DEIS", "DPMSolverMultistep", "UniPC", "IPNDM", "Euler", "Heun"])
def test_no_evaluation_is_wasted_at_the_end(name: str, respaced: str) -> None:
    """k-diffusion#43, diffusers#5689: with Karras, exponential and beta sigmas DEIS steps from 0.01 to 0.01."""
    scheduler = make(name, **{respaced: True})
    scheduler.set_timesteps(10)
    levels = scheduler.sigmas.tolist()
    assert levels[-1] == 0.0
    assert len(set(levels)) == 11


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("spacing", ["linspace", "leading", "trailing"])
@pytest.mark.parametrize("name", TABLE_CLASSES)
def test_the_smallest_numbers_of_steps(name: str, spacing: str, steps: int) -> None:
    """#9007, #14411, #14586: NaN and division by zero with one step."""
    scheduler = make(name, timestep_spacing=spacing)
    x = sampled(scheduler, exact_network(scheduler.schedule, "epsilon"), steps)
    assert bool(x.isfinite().all())
    assert scheduler.num_inference_steps == steps


@pytest.mark.parametrize("name", ["DDIM", "DPMSolverMultistep", "UniPC", "DEIS", "PNDM"])
def test_as_many_steps_as_the_model_has_times(name: str) -> None:
    """#10003: IndexError with N = T."""
    scheduler = make(name, num_train_timesteps=50, **({"skip_prk_steps": True} if name == "PNDM" else {}))
    x = sampled(scheduler, exact_network(scheduler.schedule, "epsilon"), 50)
    assert bool(x.isfinite().all())
    with pytest.raises(ValueError, match="num_inference_steps=51: choose 1 to 50"):
        scheduler.set_timesteps(51)


@pytest.mark.parametrize("respaced", RESPACED)
@pytest.mark.parametrize("name", ["DEIS", "DPMSolverMultistep", "UniPC", "Euler", "Heun"])
def test_cosine_betas_with_respaced_sigmas(name: str, respaced: str) -> None:
    """#12771, #13240, #14718: 8 equal integer times of 20, IndexError."""
    scheduler = make(name, beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction", **{respaced: True})
    x = sampled(scheduler, exact_network(scheduler.schedule, "v_prediction"), 20)
    assert len(set(scheduler.timesteps.tolist())) == 20
    assert bool(x.isfinite().all())


@pytest.mark.parametrize("solver", ["ddpm", "euler_a"])
def test_ancestral_steps_on_a_cosine_table(solver: str) -> None:
    """#14213: NaN."""
    scheduler = make("Plan", solver=solver, beta_schedule="squaredcos_cap_v2", grid="linspace")
    x = sampled(scheduler, exact_network(scheduler.schedule, "epsilon"), 30)
    assert abs(deviation(x) / np.sqrt(VARIANCE) - 1.0) < 0.2
    assert abs(float(x.mean()) - MEAN) < 0.1


@pytest.mark.parametrize("name", ["DDIM", "DPMSolverMultistep", "UniPC", "DEIS", "Euler", "Plan"])
def test_zero_terminal_snr_of_a_network_that_predicts_noise_is_refused(name: str) -> None:
    """#3851, #5103: inf."""
    scheduler = make(name, rescale_betas_zero_snr=True, timestep_spacing="trailing")
    with pytest.raises(ValueError, match=r"set prediction_type='v_prediction'|prediction of epsilon says nothing"):
        scheduler.set_timesteps(10)


@pytest.mark.parametrize("name", ["DDIM", "DPMSolverMultistep", "UniPC", "DEIS", "Euler", "Plan"])
def test_zero_terminal_snr_of_v(name: str) -> None:
    scheduler = make(
        name, rescale_betas_zero_snr=True, timestep_spacing="trailing", prediction_type="v_prediction",
        **({"clip_sample": False} if name == "DDIM" else {}),
    )  # fmt: skip
    x = sampled(scheduler, exact_network(scheduler.schedule, "v_prediction"), 40)
    assert abs(float(x.mean()) - MEAN) < 0.05


def test_coefficients_of_many_steps() -> None:
    """Of DEIS-3, in float32 through numpy, theirs are off by 3e-2 at 250 steps and divide by zero at 1000."""
    scheduler = make("DEIS", solver_order=3, final_sigmas_type="zero")
    network, z, last = exact_network(scheduler.schedule, "epsilon"), noise().double(), float(scheduler.schedule.t_max)
    alpha, sigma = float(scheduler.schedule.alpha(last)), float(scheduler.schedule.sigma(last))
    exact = MEAN + np.sqrt(VARIANCE) * (z - alpha * MEAN) / np.sqrt(alpha**2 * VARIANCE + sigma**2)
    errors = [float((sampled(scheduler, network, steps) - exact).abs().max()) for steps in (60, 250, 1000)]
    assert errors[0] > 2.0 * errors[1] > 4.0 * errors[2]  # the last step, of order 1, decides


def test_the_history_does_not_grow() -> None:
    """IPNDM's list in diffusers keeps the outputs of every step."""
    scheduler = make("IPNDM")
    scheduler.set_timesteps(50)
    x, sizes = noise(), []
    for t in scheduler.timesteps:
        x = scheduler.step(0.1 * x, t, x, return_dict=False)[0]
        sizes.append(scheduler.state_bytes)
    assert len(set(sizes)) == 1


def test_one_scheduler_serves_many_threads() -> None:
    """#3672: an index shared by threads ends in IndexError, or in another sample."""
    scheduler = make("DPMSolverMultistep")
    network = exact_network(scheduler.schedule, "epsilon")
    alone = [sampled(scheduler, network, steps) for steps in (8, 13)]
    made: dict[int, list[torch.Tensor]] = {8: [], 13: []}
    barrier = threading.Barrier(4)

    def work(steps: int) -> None:
        barrier.wait()
        made[steps] += [sampled(scheduler, network, steps) for _ in range(5)]

    threads = [threading.Thread(target=work, args=(steps,)) for steps in (8, 13, 8, 13)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(each) for each in made.values()] == [10, 10]
    assert all(torch.equal(x, alone[0]) for x in made[8])
    assert all(torch.equal(x, alone[1]) for x in made[13])


def test_a_thread_goes_on_with_the_plan_that_another_made() -> None:
    scheduler = make("UniPC")
    network = exact_network(scheduler.schedule, "epsilon")
    expected = sampled(scheduler, network, 6)
    scheduler.set_timesteps(6)
    made: list[torch.Tensor] = []
    thread = threading.Thread(target=lambda: made.append(run(scheduler, network, noise())))
    thread.start()
    thread.join()
    assert torch.equal(made[0], expected)
