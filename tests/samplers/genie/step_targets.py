"""Plans, fine trajectories and targets on the small U-Net, for the tests of step-scale targets."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

import genie_samplers as gs
from genie_samplers import genie
from genie_samplers.genie.distillation.trajectories import Trajectories, fine_trajectories
from genie_samplers.schedules import Schedule

from .heads import SCHEDULE, SCHEDULES, correction_head, data, model, network

pytest.importorskip("diffusers", reason="the network is a diffusers UNet2DModel")

__all__ = ["COUNT", "NEW", "OTHER", "C", "coarser", "every_schedule", "fine_of", "plan", "targets"]

COUNT = 3
C = 2.0
NEW = genie.CorrectionHead(genie.CorrectionConfig.of(network())).eval()
OTHER = correction_head()


every_schedule = pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)


def plan(solver: str = "genie_hermite3", nfe: int = 4, *, schedule: Schedule = SCHEDULE, **options: Any) -> gs.Plan:
    return gs.make_plan(solver, schedule, nfe, grid="karras", options=options)


def coarser(fine: gs.Plan, stride: int) -> gs.Plan:
    assert fine.recipe is not None
    return gs.solvers.genie_hermite(SCHEDULE, fine.recipe.grid[::stride])


@cache
def fine_of(made: gs.Plan, parts: int = 4) -> Trajectories:
    return fine_trajectories(model(schedule=made.schedule), made, data(), COUNT, 0, first=6, parts=parts)


def targets(*plans: gs.Plan, **options: Any) -> genie.StepTargets:
    config = genie.CorrectionConfig.of(model().network)  # type: ignore[arg-type]
    return genie.StepTargets(model(), config, data(), [plans], 8, 0, **{"trajectories": COUNT, **options})
