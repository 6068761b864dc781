"""What pipelines and loops of others put in the place of a scheduler's own attributes."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.integrations.diffusers.pipelines import exact_network, noise, run

pytest.importorskip("diffusers")
ours: Any = pytest.importorskip("genie_samplers.integrations.diffusers")


def made(**options: Any) -> Any:
    scheduler = ours.UniPCScheduler(**options)
    scheduler.set_timesteps(6)
    return scheduler


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_times_in_the_dtype_of_the_network(dtype: torch.dtype) -> None:
    """As DanceDiffusionPipeline has them: rounded, they are still these times."""
    scheduler, plain = made(use_karras_sigmas=True), made(use_karras_sigmas=True)
    scheduler.timesteps = scheduler.timesteps.to(dtype)
    assert scheduler.timesteps.dtype == dtype
    assert torch.equal(run(scheduler, sine, noise()), run(plain, sine, noise()))


def test_times_that_lie_apart_in_memory() -> None:
    """As a column of a table, or every other time of a longer list."""
    scheduler = made()
    scheduler.timesteps = torch.stack([scheduler.timesteps] * 2, dim=1)[:, 0]
    network = exact_network(scheduler.schedule, "epsilon")
    assert torch.equal(run(scheduler, network, noise()), run(made(), network, noise()))


def sine(x: torch.Tensor, _: object) -> torch.Tensor:
    """A network that does not look at the time, which is rounded here."""
    return torch.sin(x)


def test_noise_levels_elsewhere_are_the_same_run() -> None:
    scheduler = made()
    scheduler.sigmas = scheduler.sigmas.double()
    assert scheduler.sigmas.dtype == torch.float64
    network = exact_network(scheduler.schedule, "epsilon")
    assert torch.equal(run(scheduler, network, noise()), run(made(), network, noise()))


def test_a_table_that_was_moved_is_the_same_table() -> None:
    """``scheduler.alphas_cumprod = scheduler.alphas_cumprod.to(device)``, in many a training script."""
    scheduler = made()
    own = scheduler.alphas_cumprod
    scheduler.alphas_cumprod = own.double()
    assert scheduler.alphas_cumprod.dtype == torch.float64
    assert torch.equal(scheduler.alphas_cumprod.float(), own)


@pytest.mark.parametrize("name", ["timesteps", "sigmas", "alphas_cumprod"])
def test_other_numbers_are_refused(name: str) -> None:
    scheduler = made()
    with pytest.raises(ValueError, match=f"{name}: set to other numbers"):
        setattr(scheduler, name, getattr(scheduler, name) * 0.9)


@pytest.mark.parametrize("name", ["timesteps", "sigmas", "alphas_cumprod"])
def test_another_number_of_them_is_refused(name: str) -> None:
    scheduler = made()
    with pytest.raises(ValueError, match=f"{name}: set to other numbers"):
        setattr(scheduler, name, getattr(scheduler, name)[:-1])


def test_a_list_is_no_tensor() -> None:
    scheduler = made()
    with pytest.raises(TypeError, match="timesteps: list; give a tensor"):
        scheduler.timesteps = scheduler.timesteps.tolist()


def test_the_index_set_back_to_none_begins_again() -> None:
    scheduler = made()
    network = exact_network(scheduler.schedule, "epsilon")
    expected = run(scheduler, network, noise())
    scheduler._step_index = None
    assert scheduler.step_index is None
    assert torch.equal(run(scheduler, network, noise()), expected)


def test_a_step_may_be_made_again() -> None:
    """From an index that was set back, without the outputs before it."""
    scheduler, x = made(), noise()
    for t in scheduler.timesteps[:3]:
        x = scheduler.step(torch.sin(x), t, x).prev_sample
    scheduler._step_index -= 1
    again = scheduler.step(torch.sin(x), scheduler.timesteps[2], x).prev_sample
    scheduler.set_timesteps(6)
    scheduler.set_begin_index(2)
    assert torch.equal(again, scheduler.step(torch.sin(x), scheduler.timesteps[2], x).prev_sample)
