"""The defects of a plan's steps on fine trajectories, and their effect."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import genie_samplers as gs
from genie_samplers import genie
from genie_samplers.genie.distillation.step_defects import StepDefect, step_defects
from genie_samplers.genie.distillation.trajectories import amplification, fine_trajectories
from genie_samplers.schedules import Schedule

from .heads import SCHEDULE, SCHEDULES, correction_head, data, model
from .step_targets import COUNT, C, every_schedule, fine_of, plan


@pytest.mark.parametrize(
    ("solver", "schedule", "options"),
    [
        ("genie_ttm2", "vp_linear", {}),
        ("genie_hermite3", "vp_linear", {"derivative_below": 5.0}),
        ("genie_hermite", "vp_linear", {"afs": True}),
        ("genie_ttm2", "edm", {"afs": True}),
        ("genie_hermite3", "ve", {"derivative_below": 5.0}),
        ("genie_hermite", "flow", {}),
    ],
    ids=lambda value: "-".join(value) or "all" if isinstance(value, dict) else value,
)
def test_corrected_steps_stay_on_the_trajectory(solver: str, schedule: str, options: dict[str, Any]) -> None:
    """In the loop a model whose correction is the target ends every step on the next fine state."""
    made = plan(solver, schedule=SCHEDULES[schedule], **options)
    fine = fine_of(made)
    found = step_defects(made, fine, 2, C)
    reading = [number for number, row in enumerate(made.rows) if row.outputs > 1]
    answers = dict(zip(reading, found, strict=True))
    asked = iter([number for number, row in enumerate(made.rows) if row.calls])

    def answer(x: torch.Tensor, t: torch.Tensor) -> tuple[torch.Tensor, ...]:
        row = next(asked)
        minus_c1 = -answers[row].correction() if row in answers else torch.zeros_like(x)
        return fine.epsilons[row], minus_c1, torch.zeros_like(x), torch.zeros_like(x)

    states: list[torch.Tensor] = []
    gs.sample(
        answer, made, state=fine.states[0],
        on_row=lambda event: (states.append(event.x), fine.states[event.row + 1])[1],
    )  # fmt: skip
    worst = max(float((states[row] - fine.states[row + 1]).abs().max()) for row in reading)
    assert reading and worst <= 1e-4 * float(fine.states[1].abs().max())


@every_schedule
def test_the_head_learns_from_what_it_will_see_in_the_solver(schedule: Schedule) -> None:
    """x, epsilon, history and step are those that the loop hands it on the same states."""
    made = plan("genie_hermite", values=3, schedule=schedule)
    fine, head = fine_of(made), correction_head()
    seen: list[tuple[torch.Tensor, ...]] = []

    def keep(_: torch.nn.Module, given: tuple[Any, ...]) -> None:
        x, epsilon, history, _, step = given
        history = [*history, *[torch.zeros_like(x)] * (2 - len(history))]
        seen.append(tuple(v.clone() for v in (x, epsilon, step, *history)))

    head.register_forward_pre_hook(keep)
    gs.sample(
        genie.with_head(model(schedule=schedule), head), made, state=fine.states[0], cond=fine.cond,
        on_row=lambda event: fine.states[event.row + 1],
    )  # fmt: skip

    def agree(shown: tuple[torch.Tensor, ...], defect: StepDefect) -> bool:
        history = [torch.stack(v) for v in zip(*(defect.history(sample, 2) for sample in range(COUNT)), strict=True)]
        expected = (defect.scale * defect.x, defect.epsilons[0], defect.features.expand(COUNT, -1), *history)
        return all(torch.allclose(a, b, rtol=1e-4, atol=1e-3) for a, b in zip(shown, expected, strict=True))

    reading = sum(row.outputs > 1 for row in made.rows)  # from pure noise the first row reads none
    assert [agree(*pair) for pair in zip(seen, step_defects(made, fine, 2, C), strict=True)] == [True] * reading
    assert reading >= 3 and seen[-1][4].any()
    assert 0.5 < float(seen[0][0].std()) < 2.0


def test_a_gain_is_what_a_correction_makes_of_the_last_state() -> None:
    made = plan()
    (*_, first, last) = step_defects(made, fine_of(made), 2, C)
    weights = [row.x.y[1] for row in made.rows]
    assert made.recipe is not None
    grown = amplification(SCHEDULE, np.array(made.recipe.grid[1:]), C)
    assert (first.gain, last.gain) == pytest.approx((weights[2] * grown[2], weights[3]))


@pytest.mark.parametrize("sample", range(COUNT))
def test_the_correction_of_a_trajectory_is_that_among_all(sample: int) -> None:
    defect = step_defects(plan(), fine_of(plan()), 2, C)[2]
    assert torch.equal(defect.correction(sample), defect.correction()[sample])


def test_the_defect_of_a_short_step_is_the_derivative_itself() -> None:
    times = gs.grids.given(SCHEDULE, [0.5, 0.499])
    made = gs.solvers.genie_ttm2(SCHEDULE, times)
    fine = fine_of(made)
    (defect,) = step_defects(made, fine, 2, C)
    exact = genie.total_derivative(model(), defect.x, 0.5, cond=fine.cond).gamma_d_epsilon
    assert float((defect.correction() - exact).norm() / exact.norm()) < 0.1  # a difference quotient of float32


def test_fine_trajectories_are_far_finer_than_the_defects_of_steps() -> None:
    """Beside three times as many steps, in what corrections make of the last state."""
    made = plan("genie_hermite3", nfe=6)
    usual, finer = (fine_trajectories(model(), made, data(), COUNT, 0, first=0, parts=n) for n in (None, 36))
    of_usual, of_finer = (
        torch.cat([defect.gain * defect.correction() for defect in step_defects(made, fine, 2, C)])
        for fine in (usual, finer)
    )
    assert float((of_usual - of_finer).norm() / of_finer.norm()) < 0.03
