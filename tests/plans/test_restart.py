"""A plan begun later on its grid, and why a plan changed by hand is not made anew."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

import genie_samplers as gs
from genie_samplers.plan import Init, Plan, Recipe, Row
from genie_samplers.solvers import registry
from genie_samplers.uses.reconstruct import decoding_plan

from .plans import CHURNED, NFE, NOISY, ROW, SCHEDULE, every_variant, plan_of, recipe_of, solver_plan


@every_variant
@pytest.mark.parametrize("k", [0, 1, 2])
@pytest.mark.each_value
def test_starting_at_k_is_the_solver_on_the_rest_of_the_grid(plan: Plan, k: int) -> None:
    recipe = recipe_of(plan)
    expected = registry.rebuild(recipe.solver, SCHEDULE, recipe.grid[k:], recipe.options)
    assert gs.starting_at(plan, k) == expected
    assert expected.init.scale == SCHEDULE.sigma(recipe.grid[k])


def test_starting_at_the_first_time_rebuilds_the_plan() -> None:
    assert gs.starting_at(CHURNED, 0) == CHURNED


def test_a_restarted_plan_keeps_its_guidance() -> None:
    assert gs.starting_at(solver_plan("deis_tab2").guided([2.0, 3.0]), 3).guidance == (2.0, 3.0)


@pytest.mark.parametrize("k", [-1, NFE])
def test_a_restart_lies_within_the_grid(k: int) -> None:
    with pytest.raises(ValueError, match=rf"k={k}; the grid has {NFE} steps, so k is 0..{NFE - 1}"):
        gs.starting_at(solver_plan("ddim"), k)


@pytest.mark.parametrize("use", [lambda p: gs.starting_at(p, 0), lambda p: p.schedule], ids=["starting_at", "schedule"])
def test_a_plan_without_recipe_says_what_needs_one(use: Any) -> None:
    with pytest.raises(ValueError, match=r"plan: has no recipe .*; make it with make_plan or a solver function"):
        use(plan_of(ROW))


def test_a_recipe_names_a_registered_solver() -> None:
    unknown = Recipe("mine", SCHEDULE.to_dict(), (1.0, 0.5))
    with pytest.raises(ValueError, match="solver='mine'; choose one of"):
        gs.starting_at(plan_of(ROW, recipe=unknown), 0)


# --- a plan changed by hand


def with_rows(plan: Plan, change: Any) -> Plan:
    return dataclasses.replace(plan, rows=tuple(change(row) for row in plan.rows))


def clamped(row: Row) -> Row:
    return dataclasses.replace(row, converted=tuple(dataclasses.replace(c, bound=1.0) for c in row.converted))


def louder(row: Row) -> Row:
    return dataclasses.replace(row, x=dataclasses.replace(row.x, draws=tuple(1.1 * d for d in row.x.draws)))


CHANGED = {
    "clamped": with_rows(solver_plan("dpmpp_2m"), clamped),
    "more noise": with_rows(NOISY, louder),
    "other grid": dataclasses.replace(NOISY, recipe=dataclasses.replace(recipe_of(NOISY), grid=(1.0, 0.5))),
    "other option": dataclasses.replace(NOISY, recipe=dataclasses.replace(recipe_of(NOISY), options={"eta": 0.1})),
    "other start": dataclasses.replace(NOISY, init=Init(2.0)),
    "guided and clamped": with_rows(solver_plan("dpmpp_2m").guided(2.0), clamped),
}


@pytest.mark.parametrize("plan", CHANGED.values(), ids=CHANGED.keys())
@pytest.mark.parametrize("k", [0, 2])
def test_a_changed_plan_is_not_silently_made_anew_from_its_recipe(plan: Plan, k: int) -> None:
    with pytest.raises(ValueError, match=r"plan: is not what its recipe \(\w+\) makes, which would undo the changes"):
        gs.starting_at(plan, k)


@pytest.mark.parametrize("plan", CHANGED.values(), ids=CHANGED.keys())
def test_a_changed_plan_is_not_turned_around(plan: Plan) -> None:
    with pytest.raises(ValueError, match=r"plan: is not what its recipe \(\w+\) makes, which would undo the changes"):
        decoding_plan(plan)


def test_samples_from_an_image_do_not_lose_a_clamp_made_by_hand() -> None:
    image = torch.ones(1, 2)
    with pytest.raises(ValueError, match="which would undo the changes"):
        gs.sample(lambda x, t: 1e3 * x, CHANGED["clamped"], image=image, start=3)
