"""Plans: solvers as tables of float64 numbers (see docs/plan.md)."""

from .layout import RowLayout
from .plan import Plan, Recipe
from .rows import Combination, Conversion, Init, Past, Step
from .unroll import Unrolled

__all__ = ["Combination", "Conversion", "Init", "Past", "Plan", "Recipe", "RowLayout", "Step", "Unrolled"]
