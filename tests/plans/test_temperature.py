"""One factor for the noise of a plan: which numbers it changes, and that the plan stays an ordinary one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import genie_samplers as gs
from genie_samplers import Plan
from genie_samplers.solvers import registry, tempered

from .plans import CHURNED, plan_of

VP = gs.schedules.vp_linear()
STOCHASTIC = ["analytic_ddpm", "ddpm", "dpmpp_2m_sde", "ei_sde", "euler_maruyama", "gddim"]


@pytest.mark.parametrize("name", STOCHASTIC)
def test_draws_are_scaled_and_nothing_else(name: str) -> None:
    plan = gs.make_plan(name, VP, 12, grid="quadratic_t")
    before, after = plan.unrolled(), tempered(plan, 1.5).unrolled()
    assert np.array_equal(after.state, before.state)
    assert np.array_equal(after.output, before.output)
    assert after.draw == pytest.approx(1.5 * before.draw, rel=1e-14)


def test_noise_between_two_stages_is_scaled_too() -> None:
    assert tempered(CHURNED, 0.5).unrolled().draw == pytest.approx(0.5 * CHURNED.unrolled().draw, rel=1e-14)


def test_the_plan_is_rebuilt_from_its_recipe() -> None:
    plan = tempered(gs.make_plan("ddpm", VP, 8, clip=1.0), 1.06)
    assert registry.recipe_of(plan).options["temperature"] == 1.06
    read = Plan.from_json(plan.to_json())
    assert read == plan
    assert [row.x for row in gs.starting_at(read, 3).rows] == [row.x for row in plan.rows[3:]]


def test_a_temperature_of_one_is_the_plan_itself() -> None:
    plan = gs.make_plan("ddpm", VP, 8)
    assert tempered(plan, 1.0) is plan


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((gs.make_plan("ddpm", VP, 8), 0.0), "temperature=0.0; give a positive finite number"),
        ((gs.make_plan("ddpm", VP, 8), float("inf")), "temperature=inf; give a positive finite number"),
        ((gs.make_plan("ddim", VP, 8), 1.1), "temperature=1.1: the plan draws no noise; take a stochastic solver"),
        ((tempered(gs.make_plan("ddpm", VP, 8), 1.1), 1.1), "temperature: the plan has 1.1 already; temper it once"),
    ],
)
def test_bad_temperatures_are_refused_with_the_fix(arguments: tuple[Any, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tempered(*arguments)


def test_a_plan_without_recipe_is_refused() -> None:
    with pytest.raises(ValueError, match="temperature: the plan has no recipe to keep it in"):
        tempered(plan_of(*gs.make_plan("ddpm", VP, 3).rows), 1.1)
