"""Pages that a browser shows without a server: solvers side by side, and what a calibration learned."""

from .differences import amplification
from .page import calibration_page, check_target, comparison_page

__all__ = ["amplification", "calibration_page", "check_target", "comparison_page"]
