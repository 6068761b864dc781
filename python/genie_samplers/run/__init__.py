"""Running a plan: a program on a device, the state of a batch, and the loop over both."""

from ..plan import Call
from .errors import NonFiniteError
from .loop import ask, row_labels, run_rows
from .program import Program
from .sample import AnyModel, OnRow, RowEvent, sample
from .start import Start
from .state import PlanState
from .stepper import Stepper

__all__ = [
    "AnyModel",
    "Call",
    "NonFiniteError",
    "OnRow",
    "PlanState",
    "Program",
    "RowEvent",
    "Start",
    "Stepper",
    "ask",
    "row_labels",
    "run_rows",
    "sample",
]
