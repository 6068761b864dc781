"""Data to latents and back, on Gaussian data where both are known in closed form."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import genie_samplers as gs
from genie_ext.testing import assert_same_bits
from genie_samplers import Plan, predictions
from genie_samplers.plan import Combination, Row
from genie_samplers.uses.reconstruct import GaussianData, decoding_plan, reconstruct

from ..plans.problems import Mixture, prediction_of
from .conftest import Place
from .fakes import SCHEDULE, SHAPE, FakeModel, gaussian_model, normals, plan_of

SCALE = 0.5
NETWORK = GaussianData(SCHEDULE, SCALE)
ONE = torch.ones(1, 1, dtype=torch.float64)


def encoding(name: str, nfe: int, **options: Any) -> Plan:
    return gs.make_plan(name, SCHEDULE, nfe, direction="encode", **options)


def stretch(start: float, end: float) -> float:
    """The probability flow of N(0, SCALE^2): it keeps x over the standard deviation."""
    t = np.array([start, end])
    first, last = np.hypot(SCHEDULE.alpha(t) * SCALE, SCHEDULE.sigma(t))
    return last / first


def encoding_error(name: str, nfe: int) -> float:
    plan = encoding(name, nfe, grid="log_snr")
    return abs(float(gs.encode(NETWORK, plan, state=ONE)) - stretch(SCHEDULE.t_end, SCHEDULE.t_max))


@pytest.mark.parametrize(("name", "order", "per_step"), [("ddim", 1, 1), ("deis_tab1", 2, 1), ("edm_heun", 2, 2)])
def test_the_latent_nears_the_flow_with_the_solvers_order(name: str, order: int, per_step: int) -> None:
    slope = np.log2(encoding_error(name, 128 * per_step) / encoding_error(name, 256 * per_step))
    # nears the order like 1/steps; 0.5 would be another order
    assert slope == pytest.approx(order, abs=0.1)


# order 2 against 3 is left out: on the way back the leading error of an even order cancels
@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 2), (1, 3), (2, 3)])
def test_the_error_of_the_way_there_and_back_falls_with_the_order(low: int, high: int) -> None:
    worse, better = (reconstruct(NETWORK, encoding(f"deis_tab{r}", 40), state=SCALE * ONE).mse for r in (low, high))
    assert 0.0 < 10.0 * better < worse


def latents(place: Place, batch_size: int | None) -> tuple[Tensor, Tensor]:
    """Here in such batches, and all at once on the reference."""
    plan = encoding("deis_tab1", 3)
    model, x = gaussian_model(plan), normals([0, 1, 2], SHAPE, draw=0, stream=0)
    mine = gs.encode(model, plan, state=x, batch_size=batch_size, **place._asdict()).cpu()
    return mine, gs.encode(model, plan, state=x, backend="reference")


def test_a_latent_has_the_same_bits_on_every_backend(place: Place) -> None:
    assert_same_bits(*latents(place, 2))


@pytest.mark.parametrize("batch_size", [None, 1, 5])
def test_a_latent_has_the_same_bits_in_any_batch(quick_place: Place, batch_size: int | None) -> None:
    assert_same_bits(*latents(quick_place, batch_size))


def test_encoding_starts_in_the_state_as_it_is() -> None:
    plan, model = encoding("ddim", 2), FakeModel()
    gs.encode(model, plan, state=torch.full((2, 3), 0.75))
    assert torch.equal(model.calls[0].x, torch.full((2, 3), 0.75))


def test_encoding_an_image_starts_in_the_noised_data() -> None:
    plan, x = encoding("deis_tab1", 3), normals([0, 1], SHAPE, draw=0, stream=0)
    alpha, sigma = (
        torch.tensor(float(f(SCHEDULE.t_end)), dtype=torch.float32) for f in (SCHEDULE.alpha, SCHEDULE.sigma)
    )
    state = alpha * x + sigma * normals([5, 2], SHAPE, draw=0, stream=3, seed=9)
    model = gaussian_model(plan)
    noised = gs.encode(model, plan, image=x, seed=9, sample_ids=[5, 2], batch_size=1)
    assert_same_bits(noised, gs.encode(model, plan, state=state))


def test_encoding_passes_on_what_sample_takes() -> None:
    plan, model, rows = encoding("ddim", 2), FakeModel(lambda x, t, labels: x * labels[:, None]), []
    x, labels = torch.ones(3, 2), torch.tensor([1.0, 2.0, 3.0])
    latent = gs.encode(
        model, plan, state=x, cond={"labels": labels}, batch_size=2, dtype=torch.float64,
        on_row=lambda e: rows.append(e.row),
    )  # fmt: skip
    assert latent.dtype == torch.float64
    assert [call.cond["labels"].tolist() for call in model.calls] == [[1, 2], [1, 2], [3, 3], [3, 3]]
    assert rows == [0, 1, 0, 1]


DRAWING = Row(0.1, Combination(1.0, draws=(1.0,)), draws=(0,), calls=0)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (gs.make_plan("ddim", SCHEDULE, 3), "plan: its times fall, which samples; make one with"),
        (plan_of(DRAWING, replace(DRAWING, time=0.2, draws=(1,))), "plan: draws noise, so no state decodes to x"),
    ],
    ids=["falling", "drawing"],
)
def test_plans_that_do_not_encode_are_refused(plan: Plan, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gs.encode(FakeModel(), plan, state=ONE)


def test_anything_but_a_plan_is_refused() -> None:
    with pytest.raises(TypeError, match="plan: 'ddim'; pass a Plan"):
        gs.encode(FakeModel(), "ddim", state=ONE)  # type: ignore[arg-type]


def test_anything_but_data_is_refused() -> None:
    with pytest.raises(ValueError, match=r"state: missing; this plan encodes .* pass state= to start from"):
        gs.encode(FakeModel(), encoding("ddim", 2))


# --- the report


def test_a_report_holds_what_encode_and_sample_return_and_the_error_of_images_in_0_to_1() -> None:
    plan, x = encoding("ddim", 3), normals([0, 1], (4,), draw=0, stream=0).double()
    report = reconstruct(NETWORK, plan, state=x, batch_size=1)
    latents = gs.encode(NETWORK, plan, state=x)
    assert_same_bits(report.latents, latents)
    assert_same_bits(report.images, gs.sample(NETWORK, decoding_plan(plan), state=latents))
    in_0_to_1 = [(images.numpy() + 1.0) / 2.0 for images in (report.images, x)]
    assert report.mse == pytest.approx(np.mean(np.subtract(*in_0_to_1) ** 2), rel=1e-12)
    sigma = SCHEDULE.sigma(SCHEDULE.t_max)
    assert report.latent_rms == pytest.approx(np.sqrt(np.mean(latents.numpy() ** 2)) / sigma, rel=1e-12)


@pytest.mark.parametrize("name", ["ddim", "deis_tab3", "dpmpp_2m", "edm_heun"])
def test_decoding_takes_the_same_times_back(name: str) -> None:
    plan = encoding(name, 4).guided([2.0, 3.0])
    back = decoding_plan(plan)
    assert plan.recipe is not None and back.recipe is not None
    assert back.recipe.grid == plan.recipe.grid[::-1]
    assert back.guidance == plan.guidance
    assert decoding_plan(back) == plan


def test_a_plan_without_recipe_cannot_be_turned_round() -> None:
    with pytest.raises(ValueError, match="plan: has no recipe to rebuild it from"):
        decoding_plan(plan_of(DRAWING))


@pytest.mark.parametrize("prediction", predictions.PREDICTIONS)
@pytest.mark.parametrize("time", [2.0**-9, 0.25, 1.0])
def test_the_network_of_gaussian_data_is_that_of_a_mixture_of_one(prediction: str, time: float) -> None:
    x = np.array([[0.3, -1.2]])
    epsilon = Mixture((1.0,), (0.0,), (SCALE,)).epsilon(SCHEDULE, x, time)
    x0 = (x - SCHEDULE.sigma(time) * epsilon) / SCHEDULE.alpha(time)
    expected = prediction_of(prediction, SCHEDULE, time, x0, epsilon)
    output = GaussianData(SCHEDULE, SCALE, prediction=prediction)(torch.from_numpy(x), torch.tensor([time]))
    # x0 of t = 1 is a difference of numbers 1/alpha = 150 times as large
    np.testing.assert_allclose(output.numpy(), expected, rtol=1e-10)


def test_its_times_may_be_rounded_beyond_the_schedule() -> None:
    schedule = gs.schedules.edm(gamma_max=14.6146)  # rounds up to float32
    plan = gs.make_plan("ddim", schedule, 2)
    x = gs.sample(GaussianData(schedule, 1.0), plan, state=torch.ones(1, 1))
    assert bool(x.isfinite().all())
