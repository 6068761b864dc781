"""genie_samplers: sample from diffusion models in 5-20 network evaluations. Solvers are tables; one engine runs any.

Each name is imported when it is first asked for, so that the command line answers --help without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import calibrate, demo, doctor, genie, grids, models, pages, predictions, run, schedules, solvers, tdas
    from .adaptive import AdaptiveResult, rk45
    from .models import guidance
    from .plan import Plan
    from .run import NonFiniteError, PlanState, Program, RowEvent, sample
    from .solvers.fitness import UnfitWarning
    from .solvers.make import make_plan
    from .solvers.registry import SOLVERS, starting_at
    from .uses import compare, encode, inpaint, interpolate, reconstruct, slerp_grid

__all__ = [
    "SOLVERS",
    "AdaptiveResult",
    "NonFiniteError",
    "Plan",
    "PlanState",
    "Program",
    "RowEvent",
    "UnfitWarning",
    "calibrate",
    "compare",
    "demo",
    "doctor",
    "encode",
    "genie",
    "grids",
    "guidance",
    "inpaint",
    "interpolate",
    "make_plan",
    "models",
    "pages",
    "predictions",
    "reconstruct",
    "rk45",
    "run",
    "sample",
    "schedules",
    "slerp_grid",
    "solvers",
    "starting_at",
    "tdas",
]

_ROOMS = {
    "adaptive": ("AdaptiveResult", "rk45"),
    "models": ("guidance",),
    "plan": ("Plan",),
    "run": ("NonFiniteError", "PlanState", "Program", "RowEvent", "sample"),
    "solvers.fitness": ("UnfitWarning",),
    "solvers.make": ("make_plan",),
    "solvers.registry": ("SOLVERS", "starting_at"),
    "uses": ("compare", "encode", "inpaint", "interpolate", "reconstruct", "slerp_grid"),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}


def __getattr__(name: str) -> object:
    if name in _ROOM_OF:
        value = getattr(import_module(f".{_ROOM_OF[name]}", __name__), name)
    elif name in __all__:
        value = import_module(f".{name}", __name__)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value  # found at once from now on
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
