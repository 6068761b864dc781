"""Calibration of a solver to a network: so far its time grid."""

from .reference import Reference
from .search import Calibrated, grid, search

__all__ = ["Calibrated", "Reference", "grid", "search"]
