"""GENIE: solvers' second derivative, exact by differentiating the network, or predicted by a distilled head."""

from .derivative import TotalDerivative, differentiate, path_on, total_derivative
from .exact import exact
from .jvp_safe import jvp_safe

__all__ = ["TotalDerivative", "differentiate", "exact", "jvp_safe", "path_on", "total_derivative"]
