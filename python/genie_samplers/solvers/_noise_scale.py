"""The noise scale of a family of reverse SDEs that share their marginals: 0 is the ODE, 1 Anderson's reverse SDE."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .._arguments import real

__all__ = ["checked_noise_scale"]


def checked_noise_scale(noise_scale: float, times: NDArray[np.float64]) -> float:
    """ValueError unless finite, not negative, and 0 on a rising grid."""
    scale = real(noise_scale, "noise_scale")
    if not 0.0 <= scale < np.inf:
        raise ValueError(f"noise_scale={scale}; need a finite number >= 0")
    if scale > 0.0 and times[1] > times[0]:
        raise ValueError(f"noise_scale={scale} on a rising grid; encoding is deterministic, so use noise_scale=0")
    return scale
