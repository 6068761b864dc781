"""genie_samplers: sample from diffusion models in 5-20 network evaluations. Solvers are tables; one engine runs any."""

from . import calibrate, demo, genie, grids, models, run, schedules, solvers
from .adaptive import AdaptiveResult, rk45
from .models import guidance
from .plan import Plan
from .run import NonFiniteError, PlanState, Program, RowEvent, sample
from .solvers.registry import SOLVERS, make_plan, starting_at
from .uses import compare, encode, inpaint, interpolate, reconstruct, slerp_grid

__all__ = [
    "SOLVERS",
    "AdaptiveResult",
    "NonFiniteError",
    "Plan",
    "PlanState",
    "Program",
    "RowEvent",
    "calibrate",
    "compare",
    "demo",
    "encode",
    "genie",
    "grids",
    "guidance",
    "inpaint",
    "interpolate",
    "make_plan",
    "models",
    "reconstruct",
    "rk45",
    "run",
    "sample",
    "schedules",
    "slerp_grid",
    "solvers",
    "starting_at",
]
