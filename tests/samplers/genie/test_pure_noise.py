"""Derivatives on schedules that start in pure noise: none is asked there, and the range of log gamma is finite."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

import genie_samplers as gs
from genie_samplers.models import WrappedModel
from genie_samplers.schedules import Schedule

from ...plans.problems import ZERO_SNR

SCHEDULES: dict[str, Schedule] = {"flow": gs.schedules.flow(shift=3.0), "zero_snr": ZERO_SNR}
every_schedule = pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES.keys())


def smooth(schedule: Schedule) -> WrappedModel:
    def network(x: Tensor, t: Tensor) -> Tensor:
        return 0.3 * x + torch.sin(x + t.reshape(-1, 1) / 1000.0)

    return gs.models.wrap(network, schedule, prediction="v")


@every_schedule
@pytest.mark.parametrize("name", ["genie_ttm2", "genie_hermite3", "genie_hermite4", "genie_ttm3"])
def test_exact_derivatives_sample_from_pure_noise(name: str, schedule: Schedule) -> None:
    model = smooth(schedule)
    options = {} if name == "genie_ttm3" else {"derivative": "exact"}
    plan = gs.make_plan(name, schedule, 6, model=model, options=options)
    seen: list[bool] = []
    x = gs.sample(
        gs.genie.exact(model, order=2 if name == "genie_ttm3" else 1), plan, shape=(2, 4), progress=False,
        on_row=lambda event: seen.append(bool(event.predicted_x0().isfinite().all())),
    )  # fmt: skip
    assert seen == [True] * 6
    assert x.isfinite().all()


@every_schedule
def test_a_diagnosis_looks_between_gamma_1000_and_the_end(schedule: Schedule) -> None:
    found = gs.genie.diagnose(smooth(schedule), shape=(2, 4), nfe=4)
    assert np.isfinite(found.change).all() and np.isfinite(found.roughness).all()
    assert found.gamma[0] < 1000.0


@every_schedule
def test_no_derivative_is_taken_at_pure_noise(schedule: Schedule) -> None:
    with pytest.raises(ValueError, match="is pure noise, where log gamma is infinite: take a time after it"):
        gs.genie.total_derivative(smooth(schedule), torch.ones(1, 4), schedule.t_max)


@every_schedule
def test_the_finite_ends_are_those_of_log_gamma(schedule: Schedule) -> None:
    start, end = schedule.finite_ends
    assert schedule.gamma(start) == pytest.approx(1000.0, rel=1e-9)
    assert end == (schedule.t_end if schedule.t_end != schedule.t_zero else pytest.approx(1.0 / 1001.0, rel=1e-12))
