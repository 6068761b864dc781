"""A region painted anew while the rest of the image is held."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor

import genie_samplers as gs
from genie_ext.testing import assert_same_bits
from genie_samplers import Plan

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
IMAGE = torch.linspace(-1.0, 1.0, 3 * 30).reshape(3, *SHAPE)
PAINT = torch.tensor([True, False, False, True, False])  # of every line


def run(plan: Plan, place: Place | None = None, **options: Any) -> Tensor:
    where = {"backend": "reference"} if place is None else place._asdict()
    shape = None if "image" in options else (3, *SHAPE)
    return gs.sample(gaussian_model(plan), plan, shape=shape, seed=7, sample_ids=IDS, **where, **options).cpu()


@every_variant
@pytest.mark.parametrize("start", [None, 1])
def test_the_rest_of_the_image_is_held_exactly_and_the_region_is_sampled(plan: Plan, start: int | None) -> None:
    given = {} if start is None else {"image": IMAGE, "start": start}
    x = run(plan, on_row=gs.inpaint(PAINT, IMAGE, plan, seed=7), **given)
    assert_same_bits(x[..., ~PAINT], IMAGE[..., ~PAINT])
    # this network looks at one pixel at a time
    assert_same_bits(x[..., PAINT], run(plan, **given)[..., PAINT])


def held_states(plan: Plan, place: Place | None = None, batch_size: int | None = None) -> Tensor:
    """[samples, steps, ...]: what the states were replaced by."""
    hold, states = gs.inpaint(PAINT, IMAGE, plan, seed=7), {i: [] for i in IDS}

    def on_row(event: gs.RowEvent) -> Tensor | None:
        state = hold(event)
        for i, of_sample in zip(event.sample_ids, [] if state is None else state.cpu(), strict=False):
            states[i].append(of_sample)
        return state

    run(plan, place, on_row=on_row, batch_size=batch_size)
    return torch.stack([torch.stack(states[i]) for i in IDS])


def test_every_backend_holds_the_same_states(place: Place) -> None:
    plan = solver_plan("edm_heun", 3, s_churn=1.0)
    assert_same_bits(held_states(plan, place, 2), held_states(plan))


@pytest.mark.parametrize("batch_size", [1, 2, 5])
@pytest.mark.parametrize("name", ["deis_tab1", "edm_heun-churn"])
def test_every_batch_holds_the_same_states(name: str, batch_size: int, quick_place: Place) -> None:
    assert_same_bits(held_states(VARIANTS[name], quick_place, batch_size), held_states(VARIANTS[name]))


@pytest.mark.parametrize("row", range(4))
def test_the_rest_is_noised_afresh_to_the_time_of_the_next_call(row: int) -> None:
    plan, model = solver_plan("deis_tab2", 5), FakeModel()
    gs.sample(
        model, plan, shape=IMAGE.shape, seed=7, sample_ids=IDS, on_row=gs.inpaint(PAINT, IMAGE, plan, seed=2**64 - 1)
    )
    time = plan.times[row + 1]
    alpha, sigma = (torch.tensor(float(f(time)), dtype=torch.float32) for f in (SCHEDULE.alpha, SCHEDULE.sigma))
    z = normals(IDS, SHAPE, draw=1 + row, stream=3, seed=-1)
    assert_same_bits(model.calls[row + 1].x[..., ~PAINT], (alpha * IMAGE + sigma * z)[..., ~PAINT])


@pytest.mark.parametrize(
    "other",
    [
        gs.make_plan("ddim", SCHEDULE, 4),
        gs.make_plan("ddim", gs.schedules.vp_linear(beta_max=10.0), 5, denoise=True),
        plan_of(euler(1.0)),
    ],
    ids=["times", "schedule", "recipe"],
)
def test_a_plan_that_is_not_the_one_that_runs_is_refused(other: Plan) -> None:
    model = FakeModel(label=lambda times: times)
    hold = gs.inpaint(PAINT, IMAGE, VARIANTS["ddim"])
    with pytest.raises(ValueError, match=r"plan: row 0, from time 1.0 to .*; give inpaint the plan that runs"):
        gs.sample(model, other, shape=IMAGE.shape, on_row=hold)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_region_has_the_same_bits_in_a_half_state_of_a_float_network(dtype: torch.dtype) -> None:
    def painted(**options: Any) -> Tensor:
        model = gaussian_model(plan)
        vars(model)["dtype"] = torch.float32
        return gs.sample(model, plan, shape=IMAGE.shape, seed=7, dtype=dtype, **options)[..., PAINT]

    plan = VARIANTS["deis_tab2"]
    assert_same_bits(painted(on_row=gs.inpaint(PAINT, IMAGE, plan)), painted())


@pytest.mark.parametrize(
    "mask", [PAINT.expand(SHAPE), PAINT.expand(3, *SHAPE), PAINT[None, None]], ids=["sample", "batch", "lines"]
)
def test_a_mask_may_be_of_any_shape_that_broadcasts(mask: Tensor) -> None:
    plan = VARIANTS["ddim"]
    wide, narrow = (run(plan, on_row=gs.inpaint(m, IMAGE, plan)) for m in (mask, PAINT))
    assert_same_bits(wide, narrow)


def test_one_image_serves_all_samples() -> None:
    plan, one = VARIANTS["ddim"], IMAGE[1:2]
    alone = run(plan, on_row=gs.inpaint(PAINT, one, plan), batch_size=2)
    assert_same_bits(alone, run(plan, on_row=gs.inpaint(PAINT, one.expand(3, *SHAPE), plan)))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_image_takes_the_states_type(dtype: torch.dtype) -> None:
    plan = VARIANTS["ddim"]
    x = run(plan, on_row=gs.inpaint(PAINT, IMAGE, plan), dtype=dtype)
    assert_same_bits(x[..., ~PAINT], IMAGE.to(dtype)[..., ~PAINT])


PLAN = VARIANTS["ddim"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((PAINT.int(), IMAGE, PLAN), TypeError, "mask: torch.int32; give a bool tensor"),
        ((None, IMAGE, PLAN), TypeError, "mask: NoneType; give a bool tensor"),
        ((PAINT, IMAGE.long(), PLAN), TypeError, "image: torch.int64; give a float tensor"),
        ((PAINT[:3], IMAGE, PLAN), ValueError, r"mask: shape \(3,\) does not broadcast to image's"),
        ((PAINT, IMAGE[:1, 0, 0, 0], PLAN), ValueError, r"mask: shape \(5,\) does not broadcast to image's \(1,\)"),
        ((PAINT, IMAGE, plan_of(euler(1.0))), ValueError, "plan: has no recipe, or encodes"),
        ((PAINT, IMAGE, gs.make_plan("ddim", SCHEDULE, 3, direction="encode")), ValueError, "plan: has no recipe, or"),
        ((PAINT, IMAGE, "ddim"), TypeError, "plan: str; give a Plan"),
    ],
)
def test_what_cannot_be_held_is_refused(arguments: tuple[Any, ...], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        gs.inpaint(*arguments)


def test_a_seed_beyond_64_bits_is_refused() -> None:
    with pytest.raises(ValueError, match="seed=-1; need 64 bits"):
        gs.inpaint(PAINT, IMAGE, PLAN, seed=-1)


def test_images_of_another_number_are_refused() -> None:
    with pytest.raises(ValueError, match=r"image: shape \(2, 2, 3, 5\) for states \(3, 2, 3, 5\); give one per sample"):
        run(PLAN, on_row=gs.inpaint(PAINT, IMAGE[:2], PLAN))


@pytest.mark.parametrize("image", [IMAGE[:1, :1], IMAGE[:1, :, :1]], ids=["channels", "height"])
def test_one_image_of_another_shape_is_refused(image: Tensor) -> None:
    """It would have been broadcast."""
    shape = re.escape(str(tuple(image.shape)))
    with pytest.raises(ValueError, match=rf"image: shape {shape} for states \(3, 2, 3, 5\); give one per sample"):
        run(PLAN, on_row=gs.inpaint(torch.tensor(True), image, PLAN))


# --- soft masks


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_mask_of_zeros_and_ones_is_the_bool_mask(dtype: torch.dtype) -> None:
    plan = VARIANTS["ddim-eta"]
    hard, soft = (run(plan, on_row=gs.inpaint(m, IMAGE, plan), dtype=dtype) for m in (PAINT, PAINT.double()))
    assert_same_bits(soft, hard)


def test_a_soft_mask_blends_the_sampled_and_the_held() -> None:
    plan, mask = solver_plan("ddim", 1), torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0])
    x = run(plan, on_row=gs.inpaint(mask, IMAGE, plan))
    assert_same_bits(x, mask * run(plan) + (1.0 - mask) * IMAGE)


@pytest.mark.parametrize("wrong", [1.5, -0.1, torch.nan])
def test_a_soft_mask_lies_between_0_and_1(wrong: float) -> None:
    with pytest.raises(ValueError, match=r"mask: .*; need numbers in \[0, 1\], 1 where to paint"):
        gs.inpaint(torch.tensor([0.5, wrong, 1.0, 0.0, 0.0]), IMAGE, PLAN)
