"""Plans: solvers as tables of float64 numbers (see docs/plan.md)."""

from .apply import Apply
from .calls import Call
from .filtered import filtered
from .frozen import FrozenMapping
from .gains import Gain
from .layout import RowLayout
from .plan import Plan
from .recipe import Recipe, written_schedule
from .rows import Combination, Conversion, Init, Row
from .sources import HistoryEntry, Source
from .unroll import Unrolled

__all__ = [
    "Apply",
    "Call",
    "Combination",
    "Conversion",
    "FrozenMapping",
    "Gain",
    "HistoryEntry",
    "Init",
    "Plan",
    "Recipe",
    "Row",
    "RowLayout",
    "Source",
    "Unrolled",
    "filtered",
    "written_schedule",
]
