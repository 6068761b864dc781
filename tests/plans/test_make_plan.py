"""What make_plan chooses by itself, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import genie_samplers as gs
from genie_samplers.schedules import Schedule
from genie_samplers.solvers.choosing import fitting_grids
from genie_samplers.solvers.scoring import score

from .plans import recipe_of
from .problems import DISCRETE, EDM, VP

VE, FLOW, SD3 = gs.schedules.ve(), gs.schedules.flow(), gs.schedules.flow(shift=3.0)


def test_a_family_takes_what_has_the_least_score_of_all_its_choices() -> None:
    plan = gs.make_plan("ipndm", VP, 6)
    scores = {
        (order, warmup, grid): score(
            gs.make_plan(f"ipndm{order}", VP, 6, grid=grid, options={"warmup": warmup}), VP
        ).total(6)
        for order in (2, 3, 4)
        for warmup in ("lower_order", "gradual")
        for grid in fitting_grids(VP, denoise=False)
    }
    order, warmup, grid = min(scores, key=scores.__getitem__)
    recipe = recipe_of(plan)
    assert (recipe.options["order"], recipe.options["warmup"]) == (order, warmup)
    assert recipe.grid == tuple(gs.grids.GRIDS[grid](VP, 6))


def test_what_the_caller_names_goes_before_the_choice() -> None:
    recipe = recipe_of(gs.make_plan("ipndm", VP, 6, grid="karras", options={"order": 4}))
    assert recipe.options["order"] == 4
    assert recipe.grid == tuple(gs.grids.power_gamma(VP, 6))


@pytest.mark.parametrize("name", ["ddim", "dpmpp_2m", "gddim"])
@pytest.mark.parametrize("schedule", [EDM, VE, FLOW, SD3, DISCRETE], ids=["edm", "ve", "flow", "flow-shift3", "table"])
def test_a_solver_takes_the_grid_of_the_least_score(name: str, schedule: Schedule) -> None:
    plan = gs.make_plan(name, schedule, 6, prediction="v")
    denoise = schedule is DISCRETE  # a table is sampled to gamma = 0
    others = [
        gs.make_plan(name, schedule, 6, prediction="v", grid=grid, denoise=denoise)
        for grid in fitting_grids(schedule, denoise=denoise)
    ]
    assert score(plan, schedule).total(6) <= min(score(other, schedule).total(6) for other in others)
    assert recipe_of(plan).grid in [recipe_of(other).grid for other in others]


@pytest.mark.parametrize("denoise", [True, np.True_])
def test_the_last_evaluation_may_step_to_clean_data(denoise: Any) -> None:
    plan = gs.make_plan("dpm_solver_3s", VP, 7, denoise=denoise)
    assert (plan.nfe, recipe_of(plan).grid[-1]) == (7, VP.t_zero)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"grid": np.linspace(1.0, 1e-3, 5)}, ValueError, r"grid=array.*; choose one of uniform_t"),
        ({"direction": np.zeros(2)}, ValueError, r"direction=array.*; choose one of sample, encode"),
        ({"prediction": np.zeros(2)}, ValueError, r"prediction=array.*; choose one of epsilon"),
        ({"denoise": 1}, TypeError, "denoise=1: give True or False"),
        ({"denoise": True, "direction": "encode"}, ValueError, "denoise=True with direction='encode'"),
        ({"schedule": DISCRETE, "grid": "trailing", "denoise": False}, ValueError, "without denoise ends in noise"),
        (
            {"schedule": DISCRETE, "grid": "trailing", "direction": "encode"},
            ValueError,
            "without denoise ends in noise",
        ),
        ({"schedule": DISCRETE, "grid": "leading", "direction": "encode"}, ValueError, "reaches only t=.*'linspace'"),
        ({"name": "dpm_solver_2s", "options": {"orders": 5}}, TypeError, "orders=5: give a list of integers"),
    ],
)
def test_what_cannot_be_meant_is_refused(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        gs.make_plan(**({"name": "ddim", "schedule": VP, "nfe": 5} | arguments))


# --- the network's prediction


class Predicting:
    def __init__(self, prediction: Any) -> None:
        self.prediction = prediction


@pytest.mark.parametrize("prediction", ["epsilon", "x0", "v", "score", "flow"])
def test_a_model_says_what_it_predicts(prediction: str) -> None:
    plan = gs.make_plan("deis_tab2", VP, 5, model=Predicting(prediction))
    assert plan == gs.make_plan("deis_tab2", VP, 5, prediction=prediction)
    assert plan == gs.make_plan("deis_tab2", VP, 5, model=Predicting(prediction), prediction=prediction)


@pytest.mark.parametrize(
    "model", [None, Predicting(None), Predicting(lambda x: x), torch.nn.Identity(), lambda x, t: x]
)
def test_without_a_word_of_the_model_it_is_epsilon(model: Any) -> None:
    assert gs.make_plan("ddim", VP, 5, model=model).outputs == ("epsilon",)
    assert gs.make_plan("ddim", VP, 5, model=model, prediction="v").outputs == ("v",)


def test_a_wrapped_and_a_guided_network_say_what_they_predict() -> None:
    model = gs.models.wrap(lambda x, t, **cond: x, VP, prediction="v")
    guided = gs.guidance.classifier_free(model, null={"label": 0})
    assert gs.make_plan("ddim", VP, 5, model=model).outputs == ("v",)
    assert gs.make_plan("ddim", VP, 5, model=guided).outputs == ("v",)


def test_a_model_and_a_caller_who_disagree_are_refused() -> None:
    with pytest.raises(ValueError, match="prediction='epsilon', but the model predicts 'v'; leave prediction out"):
        gs.make_plan("ddim", VP, 5, model=Predicting("v"), prediction="epsilon")


def test_a_prediction_that_no_solver_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="prediction='noise'; choose one of epsilon"):
        gs.make_plan("ddim", VP, 5, model=Predicting("noise"))


@pytest.mark.parametrize(
    "schedule",
    [VP, EDM, VE, DISCRETE, gs.schedules.from_betas(gs.schedules.squaredcos_betas())],
    ids=["vp", "edm", "ve", "table", "cosine"],
)
def test_levels_that_were_stored_in_float32_are_those_of_the_schedule(schedule: Schedule) -> None:
    """The highest may lie above the schedule's by a rounding."""
    levels = schedule.gamma(np.linspace(schedule.t_max, schedule.t_end, 5))
    plan = gs.make_plan("ddim", schedule, sigmas=[np.nextafter(levels[0], np.inf), *levels[1:].astype(np.float32)])
    stored = gs.make_plan("ddim", schedule, sigmas=levels.astype(np.float32))
    assert plan.times[0] == pytest.approx(schedule.t_max, rel=1e-15)
    assert stored.times == pytest.approx(plan.times, rel=1e-6, abs=1e-6)
    with pytest.raises(ValueError, match="clip it"):
        gs.make_plan("ddim", schedule, sigmas=[levels[0] * 1.000001, *levels[1:]])
