"""Numbers as a page shows them: to three digits, and never as powers of ten."""

from __future__ import annotations

import math

__all__ = ["measured", "plain"]

_DIGITS = 3
_MINUS = "\u2212"  # as wide as a plus


def plain(number: float) -> str:
    """Without zeros at its end: 0.000123, 0.5, 157, 12300."""
    text = measured(number)
    return text.rstrip("0").rstrip(".") if "." in text else text


def measured(number: float) -> str:
    """With the zeros that are its digits: 0.0320, 1.50, 157; of 0 none."""
    if not math.isfinite(number):
        return "∞" if number > 0 else f"{_MINUS}∞" if number < 0 else "NaN"
    if number == 0.0:
        return "0"
    rounded = float(f"{abs(number):.{_DIGITS - 1}e}")
    text = f"{rounded:.{max(0, _DIGITS - 1 - math.floor(math.log10(rounded)))}f}"
    return f"{_MINUS}{text}" if number < 0 else text
