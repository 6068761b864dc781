"""Image to image: data noised to a time of the grid, from where the rest of the plan runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import genie_samplers as gs
from genie_ext.testing import assert_same_bits
from genie_samplers import Plan

from ..plans.oracle import impulse_magnitudes, roundings
from .conftest import Place
from .fakes import (
    SCHEDULE,
    SHAPE,
    VARIANTS,
    FakeModel,
    euler,
    every_variant,
    gaussian_model,
    normals,
    plan_of,
    solver_plan,
)

IDS = [4, 0, 9]


def images(dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.linspace(-1.0, 1.0, 3 * 30, dtype=dtype).reshape(3, *SHAPE)


def run(plan: Plan, place: Place | None = None, **options: Any) -> Tensor:
    where = {"backend": "reference"} if place is None else place._asdict()
    return gs.sample(gaussian_model(plan), plan, seed=7, sample_ids=IDS, **where, **options).cpu()


def noised(plan: Plan, start: int, x0: Tensor) -> Tensor:
    """alpha x0 + sigma z, in float32 as the engine computes it."""
    assert plan.recipe is not None
    time = plan.recipe.grid[start]
    alpha, sigma = (torch.tensor(float(f(time)), dtype=x0.dtype) for f in (SCHEDULE.alpha, SCHEDULE.sigma))
    return alpha * x0 + sigma * normals(IDS, SHAPE, draw=0, stream=3, seed=7).to(x0.dtype)


@every_variant
def test_a_start_is_the_noised_data_and_the_rest_of_the_plan(plan: Plan) -> None:
    x = run(plan, image=images(), start=1)
    assert_same_bits(x, run(gs.starting_at(plan, 1), state=noised(plan, 1, images())))


@pytest.mark.parametrize("start", [0, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_a_start_may_be_any_time_but_the_last(start: int, dtype: torch.dtype) -> None:
    plan, x0 = VARIANTS["deis_tab2"], images(dtype)
    x = run(plan, image=x0, start=start)
    assert_same_bits(x, run(gs.starting_at(plan, start), state=noised(plan, start, x0)))


def test_a_start_has_the_same_bits_on_every_backend(place: Place) -> None:
    plan = VARIANTS["ddim-eta"]
    assert_same_bits(run(plan, place, image=images(), start=3, batch_size=2), run(plan, image=images(), start=3))


@pytest.mark.parametrize("batch_size", [None, 1, 5])
@pytest.mark.parametrize("name", ["deis_tab2", "edm_heun-churn"])
def test_a_start_has_the_same_bits_in_any_batch(name: str, batch_size: int | None, quick_place: Place) -> None:
    plan = VARIANTS[name]
    mine = run(plan, quick_place, image=images(), start=1, batch_size=batch_size)
    assert_same_bits(mine, run(plan, image=images(), start=1))


def transports_a_point(plan: Plan) -> bool:
    assert plan.recipe is not None
    return not plan.stochastic and gs.SOLVERS[plan.recipe.solver].exact_on_point_mass


EXACT = {name: plan for name, plan in VARIANTS.items() if transports_a_point(plan)}


@pytest.mark.parametrize("plan", EXACT.values(), ids=EXACT.keys())
def test_one_point_is_reached_with_the_noise_of_the_start(plan: Plan) -> None:
    assert plan.recipe is not None
    point = 0.6

    def model(x: Tensor, t: Tensor) -> Tensor:
        time = next(times)
        return (x - float(SCHEDULE.alpha(time)) * point) / float(SCHEDULE.sigma(time))

    rest = gs.starting_at(plan, 1)
    times = iter(rest.times)
    x0 = torch.full((3, *SHAPE), point, dtype=torch.float64)
    x = gs.sample(model, plan, image=x0, start=1, seed=7, sample_ids=IDS)
    end = plan.recipe.grid[-1]
    z = normals(IDS, SHAPE, draw=0, stream=3, seed=7).double()
    expected = float(SCHEDULE.alpha(end)) * point + float(SCHEDULE.sigma(end)) * z
    # start and outputs are below 5; a rounding of a state is 1 / sigma as large in the network's output
    largest = 5.0 * impulse_magnitudes(rest).sum()
    off = largest * np.concatenate([[1.0], 1.0 / SCHEDULE.sigma(rest.times)])
    assert (x - expected).abs().max() <= roundings(rest) * 2.0**-53 * (impulse_magnitudes(rest) @ off)


def test_a_start_keeps_the_guidance_of_every_sample() -> None:
    plan = solver_plan("deis_tab1", 3).guided([1.0, 2.0, 3.0])
    model = FakeModel(lambda x, t: (x, 0.5 * x))
    options = {"seed": 7, "sample_ids": IDS, "backend": "reference"}
    x = gs.sample(model, plan, image=images(), start=1, **options)
    rest = gs.starting_at(plan, 1)
    assert rest.guidance == (1.0, 2.0, 3.0)
    assert_same_bits(x, gs.sample(model, rest, state=noised(plan, 1, images()), **options))


def test_the_network_reads_the_scaled_start_in_its_own_type() -> None:
    model = FakeModel(dtype=torch.bfloat16)
    plan = solver_plan("ddim", 3)
    gs.sample(model, plan, image=images(), start=1, seed=7, sample_ids=IDS)
    assert_same_bits(model.calls[0].x, noised(plan, 1, images()).to(torch.bfloat16))
    assert len(model.calls) == 2


def test_rows_are_counted_from_the_start() -> None:
    plan, rows = solver_plan("ddim", 4), []
    gs.sample(FakeModel(), plan, image=images(), start=2, on_row=lambda e: rows.append((e.row, e.time)))
    assert rows == [(0, plan.times[2]), (1, plan.times[3])]


def test_a_numpy_integer_is_a_start() -> None:
    plan = VARIANTS["ddim"]
    assert_same_bits(run(plan, image=images(), start=np.int64(1)), run(plan, image=images(), start=1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image": None, "shape": (3, *SHAPE)}, "start=1: where an image enters the grid; pass image=, the clean data"),
        ({"image": None, "state": images()}, "start=1: where an image enters the grid; pass image=, the clean data"),
        ({"state": images()}, r"state, image: both given; pass state= \(at the plan's first time\) or image="),
        ({"start": 5}, "start=5; the grid has 5 steps, so start is 0..4"),
        ({"start": -1}, "start=-1; the grid has 5 steps, so start is 0..4"),
        ({"plan": plan_of(euler(1.0))}, "image: plan has no recipe that says its schedule"),
        ({"image": torch.full((3, *SHAPE), torch.nan)}, r"image: holds inf or NaN for sample ids \[0, 1, 2\]"),
    ],
    ids=["no data", "a state", "both", "the end", "negative", "no recipe", "NaN"],
)
def test_a_start_that_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    given = {"plan": VARIANTS["ddim"], "image": images(), "start": 1} | options
    with pytest.raises(ValueError, match=message):
        gs.sample(FakeModel(), **given)


@pytest.mark.parametrize("start", [0.5, True, "1"])
def test_a_start_of_another_type_is_refused(start: Any) -> None:
    with pytest.raises(TypeError, match=f"start={start!r}: give an integer"):
        gs.sample(FakeModel(), VARIANTS["ddim"], image=images(), start=start)
