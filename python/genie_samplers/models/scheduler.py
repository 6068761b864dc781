"""The schedule and the prediction that a diffusers scheduler's JSON says."""

from __future__ import annotations

from pathlib import Path

from .. import predictions, schedules
from ..files import read_json, unreadable
from ..schedules import Schedule

__all__ = ["read_scheduler"]

_FIX = "give the network's own folder, and say schedule and prediction"


def read_scheduler(path: Path) -> tuple[Schedule, str]:
    """Schedule and prediction; ValueError for a file of other content, or of a scheduler that is not read."""
    config = read_json(path, _FIX)
    with unreadable(path, _FIX):
        if schedules.read_scheduler(config).kind == "edm":
            fix = "give the network and the scheduler to models.from_diffusers"
            raise ValueError(f"{config['_class_name']} scales what its network takes and returns; {fix}")
        return schedules.from_diffusers(config), predictions.from_diffusers(config)
