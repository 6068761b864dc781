"""genie_samplers: sample from diffusion models in 5-20 network evaluations. Solvers are tables; one engine runs any."""

from . import calibrate, genie, grids, guidance, models, schedules, solvers
from .adaptive import AdaptiveResult, rk45
from .encode import encode
from .engine import RowEvent, sample
from .inpaint import inpaint
from .interpolate import interpolate, slerp_grid
from .plan import Plan
from .registry import SOLVERS, make_plan

__all__ = [
    "SOLVERS",
    "AdaptiveResult",
    "Plan",
    "RowEvent",
    "calibrate",
    "encode",
    "genie",
    "grids",
    "guidance",
    "inpaint",
    "interpolate",
    "make_plan",
    "models",
    "rk45",
    "sample",
    "schedules",
    "slerp_grid",
    "solvers",
]
