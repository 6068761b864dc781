"""Fine trajectories: the flow at the times of a grid, from numbered noise."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import genie_ext
import genie_samplers as gs
from genie_samplers import genie
from genie_samplers.genie.distillation.trajectories import amplification, fine_trajectories, widest
from genie_samplers.schedules import Schedule

from .heads import SCHEDULE, data, model
from .step_targets import COUNT, C, every_schedule, fine_of, plan


@every_schedule
def test_trajectories_start_in_noise_of_the_scale_at_t_max(schedule: Schedule) -> None:
    made = plan(schedule=schedule)
    noise = genie_ext.Noise(torch.tensor([0]), torch.arange(6, 6 + COUNT), 2)
    normals = genie_ext.normal_fill(torch.empty(COUNT, 2, 8, 8), noise=noise)
    expected = normals * float(schedule.sigma(schedule.t_max))
    assert torch.equal(fine_of(made).states[0], expected)


def test_trajectories_are_the_flow_at_the_times_of_the_grid() -> None:
    """From their first states a plan of many more steps passes through the same states."""
    made = plan()
    fine = fine_of(made, parts=12)
    seen = [fine.states[0]]
    assert made.recipe is not None
    times = gs.grids.subdivided(SCHEDULE, made.recipe.grid, 40)
    finer = gs.solvers.deis_tab(SCHEDULE, times, order=3)
    kept: list[torch.Tensor] = []
    gs.sample(model(), finer, state=fine.states[0], cond=fine.cond, on_row=lambda event: kept.append(event.x))
    seen += kept[39::40]
    worst = max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(fine.states, seen, strict=True))
    assert len(fine.states) == 5 and worst < 1e-2


def test_epsilons_are_the_networks_at_the_states() -> None:
    fine = fine_of(plan())
    label = torch.full((COUNT,), fine.labels[2])
    assert torch.equal(fine.epsilons[2], model()(fine.states[2], label, **fine.cond))
    assert fine.labels[2] == float(SCHEDULE.log_gamma(plan().times[2]))


def test_trajectories_belong_to_their_numbers() -> None:
    one, again, other = (fine_trajectories(model(), plan(), data(), 2, 0, first=n) for n in (4, 4, 6))
    assert torch.equal(one.states[-1], again.states[-1]) and not torch.equal(one.states[0], other.states[0])


def test_trajectories_may_be_solved_a_few_at_a_time() -> None:
    together, apart = (
        fine_trajectories(model(), plan(), data(), 3, 0, first=4, parts=4, batch_size=size) for size in (None, 2)
    )
    assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-4) for a, b in zip(together.states, apart.states, strict=True))
    assert all(
        torch.allclose(a, b, rtol=1e-3, atol=1e-3) for a, b in zip(together.epsilons, apart.epsilons, strict=True)
    )
    assert together.labels == apart.labels and len(together.states) == 5


@every_schedule
def test_disturbances_of_normal_data_grow_by_the_ratio_of_deviations(schedule: Schedule) -> None:
    """The flow of N(0, c^2) data is x = sqrt(alpha^2 c^2 + sigma^2) z, solved here with its exact epsilon."""
    times = gs.grids.power_gamma(schedule, 400)

    def rate(t: np.ndarray) -> np.ndarray:
        return schedule.sigma(t) / (schedule.alpha(t) ** 2 * C**2 + schedule.sigma(t) ** 2)

    normal = gs.models.wrap(lambda x, rate: rate[:, None] * x, schedule, label=rate)
    made = gs.solvers.deis_tab(schedule, times, order=3)
    ends = gs.sample(normal, made, state=torch.tensor([[1.0], [2.0]], dtype=torch.float64))
    assert float(ends[1] - ends[0]) == pytest.approx(amplification(schedule, times, C)[0], rel=1e-3)


def test_the_widest_direction_is_the_first_principal_component() -> None:
    images = data().images
    centred = (images - images.mean(0)).flatten(1).double()
    assert widest(images) == pytest.approx(float(torch.linalg.svdvals(centred)[0]) / len(images) ** 0.5, rel=1e-6)


@pytest.mark.parametrize("prediction", ["x0", "v"])
def test_epsilons_are_made_of_other_predictions(prediction: str) -> None:
    fine = fine_trajectories(model(prediction), plan(), data(), COUNT, 0, first=0)
    exact = genie.total_derivative(model(prediction), fine.states[2], plan().times[2], cond=fine.cond).epsilon
    assert torch.allclose(fine.epsilons[2], exact, rtol=1e-4, atol=1e-4 * float(exact.abs().max()))
