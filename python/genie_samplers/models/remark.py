"""Warnings that point at the caller's line, however deep in this package they arise."""

from __future__ import annotations

import sys
import warnings

__all__ = ["remark"]

_PACKAGE = __name__.partition(".")[0]


def remark(message: str) -> None:
    """A UserWarning at the line that called into this package."""
    frame, level = sys._getframe(1), 2  # of the caller of this function
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == _PACKAGE:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)
