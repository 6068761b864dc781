"""Samplers whose step size follows the data: a controller on the host over rows that the one kernel runs."""

from .driver import AdaptiveResult, rk45
from .run import Attempt

__all__ = ["AdaptiveResult", "Attempt", "rk45"]
