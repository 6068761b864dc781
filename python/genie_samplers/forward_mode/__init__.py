"""Forward-mode derivatives of any torch network."""

from .directional import METHODS
from .jvp_safe import jvp_safe
from .linearize import Linearized, linearize

__all__ = ["METHODS", "Linearized", "jvp_safe", "linearize"]
