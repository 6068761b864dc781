"""Step-scale targets: how they are drawn from a pool, and what makes none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import genie_samplers as gs
from genie_samplers.uses.reconstruct import decoding_plan

from .heads import SCHEDULE
from .step_targets import COUNT, NEW, OTHER, coarser, plan, targets

pytestmark = pytest.mark.usefixtures("coarse_trajectories")


def test_a_chunk_is_a_function_of_its_number() -> None:
    source = targets(plan(), pool_chunks=2)
    chunks = [source.chunk(number, NEW) for number in (0, 1, 2, 3, 0)]
    assert torch.equal(chunks[0].target, chunks[4].target)
    assert torch.equal(chunks[3].target, targets(plan(), pool_chunks=2).chunk(3, NEW).target)
    assert not torch.equal(chunks[0].target, chunks[1].target) and not torch.equal(chunks[0].target, chunks[2].target)


def test_a_pool_is_kept_for_so_many_chunks_and_then_makes_way_for_a_new_one() -> None:
    source = targets(plan(), pool_chunks=2)
    pools = []
    for number in range(3):
        source.chunk(number, NEW)
        (pool,) = source._pool.values()
        pools.append(pool)
    first, second, third = pools
    assert first is second and first is not third
    assert not torch.equal(first.solved[0].fine.states[0], third.solved[0].fine.states[0])


def test_the_features_are_those_of_the_state_and_its_class() -> None:
    source = targets(plan())
    at = source.chunk(0, NEW)
    x, _, _, last, step = at.inputs
    (pool,) = source._pool.values()
    row = next(
        n for n, defect in enumerate([defect for defect, _ in pool.steps]) if torch.equal(defect.features, step[3])
    )
    sample = next(n for n in range(COUNT) if torch.equal(pool.steps[row][0].x[n], x[3]))
    cond = {"class_labels": pool.steps[row][1]["class_labels"][sample : sample + 1]}
    with source.head.captured(source.model.network) as features:
        source.model(x[3:4], step[3:4, 0], **cond)
    assert torch.allclose(last[3:4], features.last, atol=1e-4)


def test_the_expected_loss_is_the_mean_over_plans_of_the_share_left() -> None:
    """Of a head of zeros it is one: sum over rows of chance, weight and squared target."""
    fine = plan(nfe=6)
    source = targets(fine, coarser(fine, 2))
    source.chunk(0, NEW)
    (pool,) = source._pool.values()
    squares = np.array([float(defect.correction().double().square().sum()) / COUNT for defect, _ in pool.steps])
    of_plan = (pool.chance * pool.weight * squares).tolist()
    assert len(of_plan) == 9 and pool.chance.sum() == pytest.approx(1.0)
    assert sum(of_plan[:6]) == pytest.approx(0.5) and sum(of_plan[6:]) == pytest.approx(0.5)
    errors = pool.solved[0].errors
    assert np.array(of_plan[:6]) == pytest.approx(0.5 * errors / errors.sum())


def test_steps_are_drawn_by_the_root_of_their_share() -> None:
    source = replace(targets(plan(nfe=5)), size=4000)
    features = source.chunk(0, NEW).inputs[-1]
    (pool,) = source._pool.values()
    drawn = [int((features == defect.features).all(1).sum()) for defect in [defect for defect, _ in pool.steps]]
    assert drawn == pytest.approx(4000 * pool.chance, abs=1.5)  # strata leave each count within one of its chance
    assert (pool.chance**2 / pool.chance[0] ** 2) == pytest.approx(pool.solved[0].errors / pool.solved[0].errors[0])


def test_after_the_forced_chunks_the_head_leads() -> None:
    source = targets(plan("genie_hermite", values=3), forced_chunks=2)
    drawn, led, led_otherwise = source.chunk(1, NEW), source.chunk(2, NEW), source.chunk(2, OTHER)
    assert torch.equal(drawn.target, targets(plan("genie_hermite", values=3)).chunk(1, OTHER).target)
    assert len(led.x) == 2 * 4 and torch.equal(led.x[:2], led_otherwise.x[:2])
    assert not torch.equal(led.target[2:], led_otherwise.target[2:])


def test_the_loss_of_led_steps_is_in_units_of_what_errors_carried_on_amount_to() -> None:
    """Of the squared deviation, carried on to the last state, after every step."""
    made = plan()
    source = targets(made, forced_chunks=0)
    source.chunk(0, NEW)
    (pool,) = source._pool.values()
    (solved,) = pool.solved
    changes = torch.stack([defect.gain * defect.correction() for defect in solved.defects]).double()
    carried = float(changes.cumsum(0).square().sum()) / COUNT
    at = source.chunk(0, NEW)
    assert at.weight is not None and len(at.weight) == 2 * 4
    expected = np.repeat([defect.gain**2 * 4 / carried for defect in solved.defects], 2)
    assert at.weight.numpy() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (plan(derivative="head"), "give a genie solver's with derivative='correction'"),
        (gs.make_plan("ddim", SCHEDULE, 4), "give a genie solver's with derivative='correction'"),
        (gs.make_plan("genie_hermite3", SCHEDULE, 4, denoise=True), "ends at gamma = 0"),
        (plan(variable="t"), "knows polynomials of epsilon in log gamma"),
        (plan().guided(2.0), "guided, or of another schedule"),
        (gs.make_plan("genie_hermite3", gs.schedules.vp_cosine(), 4), "guided, or of another schedule"),
        (plan(derivative_below=1e-3), "no row reads a correction; give more evaluations"),
        (decoding_plan(plan()), "encodes"),
    ],
    ids=["head", "ddim", "zero", "variable", "guided", "schedule", "below", "encodes"],
)
def test_plans_without_step_targets_are_named(made: gs.Plan, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        targets(made)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([[plan(nfe=6), plan(nfe=4)]], "not every k-th of the first one's"),
        ([[coarser(plan(nfe=6), 2), plan(nfe=6)]], "not every k-th of the first one's"),
        ([], "give one or more groups of one or more plans"),
        ([[]], "give one or more groups of one or more plans"),
    ],
    ids=["other grid", "finest last", "none", "empty"],
)
def test_groups_are_of_one_grid_the_finest_first(groups: list[list[gs.Plan]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(targets(plan()), plans=groups)


@pytest.mark.parametrize("name", ["size", "trajectories", "pool_chunks"])
def test_numbers_that_make_no_targets_are_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}=0: give 1 or more"):
        replace(targets(plan()), **{name: 0})
