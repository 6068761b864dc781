"""The plans that were fitted to the embedded network and lie beside it."""

from __future__ import annotations

import warnings

import pytest
import torch

import genie_samplers as gs
from genie_samplers.uses.compare import fine_plan, rmse

pytest.importorskip("diffusers")

VP = gs.schedules.vp_linear()
NFES = (3, 4, 5, 6, 8, 10)


@pytest.fixture(scope="module")
def model() -> gs.models.WrappedModel:
    return gs.demo.embedded()


def test_there_is_one_for_each_and_it_was_fitted_to_these_weights(model: gs.models.WrappedModel) -> None:
    assert model.calibrated.evaluations() == list(NFES)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plans = [gs.make_plan("calibrated", VP, nfe, model=model) for nfe in NFES]
    assert [plan.nfe for plan in plans] == list(NFES)
    assert all(plan.calibration and plan.calibration["rmse"] < plan.calibration["start_rmse"] for plan in plans)  # type: ignore[operator]


def test_they_are_much_nearer_to_the_flow_than_the_plan_of_the_best_score(model: gs.models.WrappedModel) -> None:
    labels = {"class_labels": torch.arange(6)}

    def made(plan: gs.Plan) -> torch.Tensor:
        return gs.sample(model, plan, shape=(6, 1, 28, 28), seed=5, cond=labels, progress=False)

    fine = made(fine_plan(VP, 40))
    own, auto = (rmse(made(gs.make_plan(name, VP, 8, model=model)), fine) for name in ("calibrated", "auto"))
    assert own < 0.75 * auto
