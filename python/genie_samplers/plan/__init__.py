"""Plans: solvers as tables of float64 numbers (see docs/plan.md)."""

from .calls import Call
from .layout import RowLayout
from .plan import Plan, Recipe
from .rows import Combination, Conversion, HistoryEntry, Init, Row
from .unroll import Unrolled

__all__ = [
    "Call",
    "Combination",
    "Conversion",
    "HistoryEntry",
    "Init",
    "Plan",
    "Recipe",
    "Row",
    "RowLayout",
    "Unrolled",
]
