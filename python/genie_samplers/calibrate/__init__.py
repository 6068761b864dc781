"""Calibration to a network: the solver and grid that are best on it, or a time grid of its own."""

from .analytic import AnalyticStatistics, analytic
from .choose import Chosen, Measured, choose
from .frechet import frechet_distance
from .reference import Reference
from .search import Calibrated, grid, search
from .table import CalibratedPlan, plan
from .temperature import CalibratedTemperature, spectral_divergence, temperature

__all__ = [
    "AnalyticStatistics",
    "Calibrated",
    "CalibratedPlan",
    "CalibratedTemperature",
    "Chosen",
    "Measured",
    "Reference",
    "analytic",
    "choose",
    "frechet_distance",
    "grid",
    "plan",
    "search",
    "spectral_divergence",
    "temperature",
]
