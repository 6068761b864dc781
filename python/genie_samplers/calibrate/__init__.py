"""Calibration to a network: the solver and grid that are best on it, or a time grid of its own."""

from .analytic import AnalyticStatistics, analytic
from .choose import Chosen, Measured, choose
from .reference import Reference
from .search import Calibrated, grid, search

__all__ = [
    "AnalyticStatistics",
    "Calibrated",
    "Chosen",
    "Measured",
    "Reference",
    "analytic",
    "choose",
    "grid",
    "search",
]
