"""Calibration to a network: the solver and grid that are best on it, or a time grid of its own."""

from .choose import Chosen, Measured, choose
from .reference import Reference
from .search import Calibrated, grid, search

__all__ = ["Calibrated", "Chosen", "Measured", "Reference", "choose", "grid", "search"]
