"""The Adams-Bashforth weights of equal steps."""

from __future__ import annotations

__all__ = ["EQUAL_STEPS"]

EQUAL_STEPS = {
    1: (1.0,),
    2: (3 / 2, -1 / 2),
    3: (23 / 12, -16 / 12, 5 / 12),
    4: (55 / 24, -59 / 24, 37 / 24, -9 / 24),
}
"""Order -> weights, newest first."""
