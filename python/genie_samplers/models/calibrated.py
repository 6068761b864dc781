"""The plans that were fitted to a network, in a folder beside it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from ..files import read_text, unreadable
from ..plan import Plan
from ..schedules import Schedule
from ..solvers.registry import UnreachableNFE
from .contract import Model
from .fingerprint import network_fingerprint

__all__ = ["PLANS_FOLDER", "CalibratedPlans", "warn_of_another_network"]

PLANS_FOLDER = "genie_plans"
_FIX = "give a plan of `genie-samplers calibrate plan`"


class CalibratedPlans:
    """Those in ``folder``, ``nfe-10.json`` and so on, of this ``model``."""

    def __init__(self, folder: Path, model: Model) -> None:
        self.folder, self.model = folder, model

    def evaluations(self) -> list[int]:
        """For how many there are plans, rising."""
        names = (path.stem.removeprefix("nfe-") for path in self.folder.glob("nfe-*.json"))
        return sorted(int(name) for name in names if name.isascii() and name.isdecimal())

    def path(self, nfe: int) -> Path:
        return self.folder / f"nfe-{nfe}.json"

    def _read(self, nfe: int) -> Plan:
        text = read_text(self.path(nfe), _FIX)
        with unreadable(self.path(nfe), _FIX):
            return Plan.from_json(text)

    def find(self, schedule: Schedule, nfe: int, guidance: float | None = None) -> Plan | None:
        """The plan that was fitted for just this use, None where there is none; ValueError where it cannot be read."""
        if not self.path(nfe).is_file():
            return None
        plan = self._read(nfe)
        served: Any = None if plan.calibration is None else plan.calibration.get("guidance")
        low, high = served if isinstance(served, tuple) else (served, served)
        if guidance is None or low is None or high is None:
            fits = guidance is None and low is None
        else:
            fits = low <= guidance <= high
        return plan if fits and plan.schedule == schedule else None

    def __call__(self, schedule: Schedule, nfe: int) -> Plan:
        """The plan of this many evaluations. UnreachableNFE where there is none, ValueError for another schedule.

        Warns where the plan was fitted to other weights.
        """
        known = self.evaluations()
        if nfe not in known:
            there = f"there are plans for {', '.join(map(str, known))}" if known else "there are none"
            raise UnreachableNFE(
                f"nfe={nfe}: no plan {self.path(nfe).name} was fitted to this network ({there}); take one of them, or "
                "make it with `genie-samplers calibrate plan`"
            )
        plan = self._read(nfe)
        if plan.schedule != schedule:
            raise ValueError(f"{self.path(nfe)}: fitted on {plan.schedule}, not on {schedule}; calibrate it there")
        warn_of_another_network(plan, self.model)
        return plan


def warn_of_another_network(plan: Plan, model: Model) -> None:
    """Warn where a calibrated plan was fitted to a network of other weights, or one whose weights cannot be seen."""
    if plan.calibration is None:
        return
    fitted, own = plan.calibration.get("network"), network_fingerprint(model)
    if own is None or fitted != own:
        shown = ["unknown" if f is None else str(f)[:12] for f in (fitted, own)]
        warnings.warn(
            f"plan: fitted to the network {shown[0]}, and this one is {shown[1]}; it may be no better here than a plan "
            "of a solver: calibrate it anew",
            stacklevel=3,
        )
