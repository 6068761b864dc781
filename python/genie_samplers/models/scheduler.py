"""The schedule and the prediction that a diffusers scheduler's JSON says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .. import schedules
from ..files import read_json, unreadable
from ..schedules import Schedule

__all__ = ["read_scheduler"]

PREDICTION_TYPES = {"epsilon": "epsilon", "sample": "x0", "v_prediction": "v", "flow_prediction": "flow"}
_FIX = "give a scheduler_config.json as save_pretrained writes it, or say schedule and prediction"


def schedule_reader() -> Callable[[Mapping[str, Any]], Schedule] | None:
    """``schedules.from_diffusers``, where this version has it."""
    return getattr(schedules, "from_diffusers", None)


def read_scheduler(path: Path) -> tuple[Schedule, str] | None:
    """Schedule and prediction; None where this version reads no scheduler. ValueError for a file of other content."""
    reader = schedule_reader()
    if reader is None:
        return None
    config = read_json(path, _FIX)
    with unreadable(path, _FIX):
        return reader(config), _prediction(config)


def _prediction(config: Mapping[str, Any]) -> str:
    flow = str(config.get("_class_name", "")).startswith("FlowMatch")
    said = config.get("prediction_type", "flow_prediction" if flow else "epsilon")
    if said not in PREDICTION_TYPES:
        raise ValueError(f"prediction_type is {said!r}, none of {', '.join(PREDICTION_TYPES)}")
    return PREDICTION_TYPES[said]
