"""The probability flow at a time, as numbers: what moves x and label, and what turns their motion into epsilon's.

With s = log gamma and a = d log alpha / ds the flow is dx/ds = sigma epsilon + a x, and so
d^2x/ds^2 = (1 + 2 a) sigma epsilon + sigma d epsilon/ds + (a^2 + da/ds) x (Song et al., arXiv 2011.13456; Dockhorn et
al., arXiv 2210.05475).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .. import predictions
from ..models import Label
from ..schedules import Schedule
from .log_gamma_derivatives import label_derivatives, log_alpha_derivatives

__all__ = ["FlowCoefficients", "flow_coefficients"]


class FlowCoefficients(NamedTuple):
    """Float64 arrays [n], one entry per time, or tensors [B]; out is the network's output, primes are d/ds.

    epsilon = p x + q out; x' = sigma epsilon + x_rate x; x'' = x_bend_epsilon epsilon + sigma epsilon' + x_bend x;
    epsilon' = e1_x x + e1_out out + q out'; epsilon'' = e2_x x + e2_out out + e2_out1 out' + q out''.
    """

    label: Any
    label_slope: Any
    label_bend: Any
    p: Any
    q: Any
    sigma: Any
    x_rate: Any
    x_bend_epsilon: Any
    x_bend: Any
    e1_x: Any
    e1_out: Any
    e2_x: Any
    e2_out: Any
    e2_out1: Any

    @classmethod
    def from_columns(cls, columns: Tensor) -> FlowCoefficients:
        """From [B, 14], for example a row of ``np.stack(flow, axis=-1)`` on the device."""
        return cls(*columns.unbind(1))


def flow_coefficients(
    prediction: str, schedule: Schedule, label: Label, times: NDArray[np.float64]
) -> FlowCoefficients:
    """The numbers at ``times`` [n] for a network of this prediction and label; float64 arrays [n].

    ValueError for a time outside the schedule or of pure noise, where log gamma is infinite, and for "x0" at t_zero.
    """
    if np.any(schedule.alpha(times) == 0.0):
        raise ValueError(f"t={schedule.t_max!r} is pure noise, where log gamma is infinite: take a time after it")

    def as_array(t: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(label(t), dtype=np.float64)

    at = as_array(times)
    if at.shape != times.shape:
        raise ValueError(
            f"model.label: gave shape {at.shape} for {times.size} times; need one label per time: in place of wrap's "
            "input_scale= give a call= that scales x by its label"
        )
    a, a_slope = log_alpha_derivatives(schedule, times)
    sigma = schedule.sigma(times)
    first, second = predictions.epsilon_along_flow(prediction, schedule, times, a, a_slope)
    return FlowCoefficients(
        at,
        *label_derivatives(as_array, schedule, times),
        *predictions.to_epsilon(prediction, schedule, times),
        sigma=sigma,
        x_rate=a,
        x_bend_epsilon=(1.0 + 2.0 * a) * sigma,
        x_bend=a**2 + a_slope,
        e1_x=first[0],
        e1_out=first[1],
        e2_x=second[0],
        e2_out=second[1],
        e2_out1=second[2],
    )
