"""The solver's own steps, led by a head."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import genie_samplers as gs
from genie_samplers import genie
from genie_samplers.genie.distillation.step_defects import led_steps
from genie_samplers.genie.heads.features import input_scale, step_features
from genie_samplers.schedules import Schedule

from .heads import SCHEDULES, model
from .step_targets import COUNT, NEW, OTHER, every_schedule, fine_of, plan


def reading_rows(made: gs.Plan) -> list[int]:
    return [number for number, row in enumerate(made.rows) if row.outputs > 1]


def unit(state: torch.Tensor, made: gs.Plan, row: int) -> torch.Tensor:
    """The state before a row as the head is given it."""
    return state * torch.from_numpy(input_scale(made.schedule, np.array(made.times)))[row].float()


@torch.no_grad()
@pytest.mark.parametrize(
    ("head", "schedule", "options"),
    [
        (NEW, "vp_linear", {"afs": True}),
        (OTHER, "vp_linear", {"derivative_below": 5.0}),
        (OTHER, "edm", {}),
        (NEW, "ve", {"derivative_below": 5.0}),
        (OTHER, "flow", {"afs": True}),
    ],
    ids=["zero-vp_linear-afs", "other-vp_linear-below", "other-edm-all", "zero-ve-below", "other-flow-afs"],
)
def test_steps_that_a_head_leads_are_those_of_the_loop(
    head: genie.CorrectionHead, schedule: str, options: dict[str, Any]
) -> None:
    made = plan("genie_hermite", values=3, schedule=SCHEDULES[schedule], **options)
    network, fine = model(schedule=made.schedule), fine_of(made)
    states: list[torch.Tensor] = [fine.states[0]]
    gs.sample(
        genie.with_head(network, head), made, state=fine.states[0], cond=fine.cond,
        on_row=lambda event: states.append(event.x),
    )  # fmt: skip
    led = led_steps(network, head, made, fine, torch.arange(COUNT))
    same = [torch.equal(s.x, unit(states[row], made, row)) for s, row in zip(led, reading_rows(made), strict=True)]
    assert all(same)


@torch.no_grad()
@every_schedule
def test_a_head_of_zeros_leads_along_the_plan_s_own_run_from_noise(schedule: Schedule) -> None:
    """From the very noise of the trajectories the network alone takes the same steps."""
    made = plan("genie_hermite", values=3, schedule=schedule)
    fine = fine_of(made)
    assert made.recipe is not None
    alone = gs.solvers.deis_log_ab(schedule, made.recipe.grid, order=2)
    states: list[torch.Tensor] = [fine.states[0]]
    gs.sample(
        model(schedule=schedule), alone, state=fine.states[0], cond=fine.cond,
        on_row=lambda event: states.append(event.x),
    )  # fmt: skip
    led = led_steps(model(schedule=schedule), NEW, made, fine, torch.arange(COUNT))
    assert torch.equal(led[0].x, unit(fine.states[0], made, 0))
    apart = [float((s.x - unit(states[row], made, row)).abs().max()) for row, s in enumerate(led)]
    assert max(apart) <= 1e-4


@torch.no_grad()
def test_a_step_that_is_led_should_end_on_the_fine_trajectory() -> None:
    made, samples = plan("genie_hermite", values=3), torch.tensor([2, 0])
    fine = fine_of(made)
    led = led_steps(model(), OTHER, made, fine, samples)

    def ends_there(number: int) -> bool:
        """By the row's own weights; vp_linear has states of unit size."""
        step, weights = led[number], made.rows[number].x
        reached = weights.x * step.x + weights.y[0] * step.epsilon + weights.y[1] * step.target
        reached = reached + sum(w * v for w, v in zip(weights.history, step.history, strict=True))
        return torch.allclose(reached, fine.states[number + 1][samples], atol=1e-4)

    features = torch.from_numpy(step_features(made, 2)).float()
    assert [ends_there(number) for number in (2, 3)] == [True, True]
    assert torch.equal(torch.stack([step.features[0] for step in led]), features)
