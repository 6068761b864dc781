"""Plans: solvers as tables of float64 numbers (see docs/plan.md)."""

from .calls import Call
from .frozen import FrozenMapping
from .layout import RowLayout
from .plan import Plan
from .recipe import Recipe, written_schedule
from .rows import Combination, Conversion, HistoryEntry, Init, Row
from .unroll import Unrolled

__all__ = [
    "Call",
    "Combination",
    "Conversion",
    "FrozenMapping",
    "HistoryEntry",
    "Init",
    "Plan",
    "Recipe",
    "Row",
    "RowLayout",
    "Unrolled",
    "written_schedule",
]
