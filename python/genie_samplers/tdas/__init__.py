"""Noise filters of TDAS and PDS, coloured noise with computed gains, and what they do to Gaussian data."""

from .published import PUBLISHED, Zones, published
from .radial import radial_filter, radius
from .space import space_filter
from .spec import FilterSpec

__all__ = ["PUBLISHED", "FilterSpec", "Zones", "published", "radial_filter", "radius", "space_filter"]
