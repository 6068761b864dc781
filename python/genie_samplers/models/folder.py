"""What a folder says of the network in it: where its config.json lies, and what it was trained with.

A network's own folder as save_pretrained writes it, or that of a pipeline, whose ``unet/`` or ``transformer/`` holds
the network and whose ``scheduler/scheduler_config.json`` says schedule and prediction. Beside a config.json that this
library wrote lies ``genie_network.json``, which says all three.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import schedules
from ..files import read_json, unreadable, write_text
from ..predictions import PREDICTIONS
from ..schedules import Schedule
from .scheduler import read_scheduler
from .wrap import INPUTS, LABELS

__all__ = ["NetworkFolder", "read_folder", "write_description"]

_CONFIG = "config.json"
_PARTS = ("unet", "transformer")
_SCHEDULER = Path("scheduler") / "scheduler_config.json"
_DESCRIPTION = "genie_network.json"
_FIX = "give the folder of a diffusers network as save_pretrained writes it, or of a pipeline"


@dataclass(frozen=True)
class NetworkFolder:
    """home: where config.json and weights are. config: what config.json holds. The rest is None where nothing says it.

    label, input: names in ``models.LABELS`` and ``models.INPUTS``.
    """

    home: Path
    config: Mapping[str, Any]
    schedule: Schedule | None = None
    prediction: str | None = None
    label: str | None = None
    input: str = "x"


def read_folder(folder: Path | str) -> NetworkFolder:
    """ValueError where the folder holds no network, or two, or says what cannot be."""
    given = Path(folder)
    home = _home(given)
    config = read_json(home / _CONFIG, _FIX)
    if (home / _DESCRIPTION).is_file():
        return NetworkFolder(home, config, *_description(home / _DESCRIPTION))
    scheduler = given / _SCHEDULER
    if home == given or not scheduler.is_file():
        return NetworkFolder(home, config)
    return NetworkFolder(home, config, *read_scheduler(scheduler))


def write_description(
    folder: Path | str, schedule: Schedule, prediction: str, label: str, *, input: str = "x"
) -> None:  # fmt: skip
    """Beside a network's config.json: what it was trained with, so that :func:`models.load` needs no more to be told.

    label, input: names in ``models.LABELS`` and ``models.INPUTS``.
    """
    described = {"schedule": schedule.to_dict(), "prediction": prediction, "label": label}
    described |= {} if input == "x" else {"input": input}
    write_text(Path(folder) / _DESCRIPTION, json.dumps(described, indent=2, allow_nan=False) + "\n")


def _home(folder: Path) -> Path:
    if (folder / _CONFIG).is_file():
        return folder
    parts = [folder / name for name in _PARTS if (folder / name / _CONFIG).is_file()]
    if len(parts) == 1:
        return parts[0]
    if parts:
        raise ValueError(f"folder={str(folder)!r}: holds {' and '.join(_PARTS)}; give the folder of one of them")
    missing = ", ".join([_CONFIG, *(f"{name}/{_CONFIG}" for name in _PARTS)])
    raise ValueError(f"folder={str(folder)!r}: has none of {missing}; {_FIX}")


def _description(path: Path) -> tuple[Schedule, str, str, str]:
    fix = "write it anew with `genie-samplers train --export`, or remove it and say what it would"
    described = read_json(path, fix)
    with unreadable(path, fix):
        if described.keys() - {"input"} != {"schedule", "prediction", "label"}:
            raise ValueError(f"holds {sorted(described)}, not label, prediction and schedule")
        described = {"input": "x", **described}
        for name, known in (("prediction", PREDICTIONS), ("label", LABELS), ("input", INPUTS)):
            if described[name] not in tuple(known):
                raise ValueError(f"{name} is {described[name]!r}, none of {', '.join(known)}")
        schedule = schedules.from_dict(described["schedule"])
        return schedule, described["prediction"], described["label"], described["input"]
