"""Running a plan: a program on a device, the state of a batch, and the loop over both."""

from ..plan import Call
from .errors import NonFiniteError
from .loop import ask, row_labels, run_rows
from .named import Operator
from .program import Program
from .reductions import REDUCTIONS, Reduction
from .sample import AnyModel, OnRow, RowEvent, sample
from .start import Start
from .state import PlanState
from .stepper import Stepper

__all__ = [
    "REDUCTIONS",
    "AnyModel",
    "Call",
    "NonFiniteError",
    "OnRow",
    "Operator",
    "PlanState",
    "Program",
    "Reduction",
    "RowEvent",
    "Start",
    "Stepper",
    "ask",
    "row_labels",
    "run_rows",
    "sample",
]
