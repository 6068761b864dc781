"""Noise filters of TDAS and PDS, coloured noise with computed gains, and what they do to Gaussian data."""

from .bias import langevin_variance, reverse_sde_bias
from .calibrate import (
    LEAST_SAMPLES,
    Behaviour,
    Calibration,
    behaviour,
    calibrate,
    calibrate_model,
    log_power,
)
from .fitted import fitted_gains
from .gains import NoiseGains, gains_from_progress, gains_from_spectrum, least_change
from .gaussian import Response, final_variances, response, target_variances
from .operators import FilterOperator, operators, read_filters
from .picture import write_picture
from .published import PUBLISHED, Zones, published
from .radial import radial_filter, radius
from .space import space_filter
from .spec import FilterSpec
from .spectrum import measured_progress, power_spectrum
from .teleport import teleport

__all__ = [
    "LEAST_SAMPLES",
    "PUBLISHED",
    "Behaviour",
    "Calibration",
    "FilterOperator",
    "FilterSpec",
    "NoiseGains",
    "Response",
    "Zones",
    "behaviour",
    "calibrate",
    "calibrate_model",
    "final_variances",
    "fitted_gains",
    "gains_from_progress",
    "gains_from_spectrum",
    "langevin_variance",
    "least_change",
    "log_power",
    "measured_progress",
    "operators",
    "power_spectrum",
    "published",
    "radial_filter",
    "radius",
    "read_filters",
    "response",
    "reverse_sde_bias",
    "space_filter",
    "target_variances",
    "teleport",
    "write_picture",
]
