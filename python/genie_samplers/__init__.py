"""genie_samplers: sample from diffusion models in 5-20 network evaluations. Solvers are tables; one engine runs any."""

from . import grids, guidance, models, schedules, solvers
from .engine import RowEvent, sample
from .plan import Plan
from .registry import SOLVERS, make_plan

__all__ = [
    "SOLVERS",
    "Plan",
    "RowEvent",
    "grids",
    "guidance",
    "make_plan",
    "models",
    "sample",
    "schedules",
    "solvers",
]
