"""Derivatives of epsilon along the probability flow."""

from .coefficients import FlowCoefficients, flow_coefficients
from .total_derivative import TotalDerivative, coefficients_at, differentiate, total_derivative

__all__ = [
    "FlowCoefficients",
    "TotalDerivative",
    "coefficients_at",
    "differentiate",
    "flow_coefficients",
    "total_derivative",
]
