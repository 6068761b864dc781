"""The variables in which a polynomial may interpolate, and its basis there."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from ..schedules import Schedule

__all__ = [
    "VARIABLES",
    "hermite_basis",
    "lagrange_basis",
    "log_gamma_rate",
    "node_values",
    "pure_noise_value",
    "zero_value",
]

Array = NDArray[np.float64]

VARIABLES = ("t", "gamma", "log_gamma")


def node_values(schedule: Schedule, nodes: Array, variable: str) -> Array:
    """u of times."""
    return {"t": lambda t: t, "gamma": schedule.gamma, "log_gamma": schedule.log_gamma}[variable](nodes)


def zero_value(schedule: Schedule, variable: str) -> float:
    """u at t_zero; ValueError for log gamma, which is -inf there."""
    if variable == "log_gamma":
        fix = "give a single node for this step, or interpolate in t or gamma"
        raise ValueError(f"t_next={schedule.t_zero!r} is t_zero, where log_gamma = -inf: {fix}")
    return 0.0 if variable == "gamma" else schedule.t_zero


def pure_noise_value(schedule: Schedule, variable: str) -> float:
    """u at t_max where alpha = 0; ValueError for gamma and log gamma, which are infinite there."""
    if variable != "t":
        fix = "give a single node for this step, or interpolate in t"
        raise ValueError(f"t_next={schedule.t_max!r} is pure noise, where {variable} = inf: {fix}")
    return schedule.t_max


def log_gamma_rate(schedule: Schedule, nodes: Array, variable: str) -> Array:
    """d log gamma / du at times of gamma > 0; for u = t it is G^2 / (2 sigma^2), at a knot that of the piece below."""
    if variable == "log_gamma":
        return np.ones_like(nodes)
    if variable == "gamma":
        return 1.0 / schedule.gamma(nodes)
    return 0.5 * schedule.diffusion_squared(nodes) / schedule.sigma(nodes) ** 2


def lagrange_basis(nodes: Array, u: Array, *, twice: Sequence[bool] | None = None) -> Array:
    """prod_{k != j} ((u - u_k)/(u_j - u_k))^m_k for each node j: [nodes, *u.shape].

    The multiplicity m_k is 2 where ``twice``, else 1: without any, the polynomials that are 1 at one node and 0 at the
    others.
    """
    places = nodes.tolist()
    away = [u - place for place in places]
    basis, factor = np.ones((nodes.size, *u.shape)), np.empty_like(u)
    for j, k in permutations(range(nodes.size), 2):
        first = k == (j == 0)  # its factor is the product so far
        made = np.divide(away[k], places[j] - places[k], out=basis[j, ...] if first else factor)
        if twice is not None and twice[k]:
            np.square(made, out=made)
        if not first:
            basis[j] *= made
    return basis


def hermite_basis(nodes: Array, twice: Sequence[bool], u: Array) -> Array:
    """The polynomials of values and of derivatives at u, [2, nodes, *u.shape]; a derivative's is 0 where not ``twice``.

    With multiplicities m_k = 1, or 2 where the derivative is given, and P_j = prod_{k != j} ((u - u_k)/(u_j - u_k))^m_k
    they are P_j (1 - (u - u_j) P_j'(u_j)) and P_j (u - u_j); without derivatives P_j, Lagrange's.
    """
    values, derivatives = lagrange_basis(nodes, u, twice=twice), np.zeros((nodes.size, *u.shape))
    places = nodes.tolist()
    for j in np.flatnonzero(twice).tolist():
        away = u - places[j]
        slope = sum((2 if twice[k] else 1) / (places[j] - places[k]) for k in range(nodes.size) if k != j)
        derivatives[j] = values[j] * away
        values[j] *= 1.0 - slope * away
    return np.stack((values, derivatives))
