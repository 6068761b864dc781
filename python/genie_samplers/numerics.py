"""The numbers behind a row: exact transfers between two times, and Adams-Bashforth weights.

With v = x / alpha the probability-flow ODE is dv/dgamma = epsilon, so (Zhang and Chen,
arXiv 2204.13902; Lu et al., arXiv 2211.01095; primes at ``t_next``, kappa = 1 / gamma)

    x' = (alpha'/alpha) x + alpha' * integral of epsilon dgamma            epsilon form
    x' = (sigma'/sigma) x + sigma' * integral of x_0     dkappa            x0 form

A multistep method puts the Lagrange polynomial through its nodes, in a variable u of its choice
(t: tAB-DEIS; gamma: rhoAB-DEIS; log_gamma: DPM-Solver's), in place of epsilon or x_0. All float64,
on the host, in forms that do not cancel between close times; steps may fall or rise.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .schedules import Schedule

__all__ = ["VARIABLES", "epsilon_weights", "step_integral", "transfer", "x0_transfer", "x0_weights"]

Array = NDArray[np.float64]

VARIABLES = ("t", "gamma", "log_gamma")

# 32 Gauss-Legendre nodes on (0, 1). The integrands are analytic in log gamma with singularities at
# distance pi/2 from the real axis (gamma = +-i), so on a panel of width 4 their error is below
# 2.05^-64 = 1e-20; a step, or an interval between two knots, that is wider is cut into panels.
_LEGENDRE_NODES, _LEGENDRE_WEIGHTS = np.polynomial.legendre.leggauss(32)
_NODES, _WEIGHTS = 0.5 + 0.5 * _LEGENDRE_NODES, 0.5 * _LEGENDRE_WEIGHTS
_PANEL_WIDTH = 4.0
_DEEPEST = 60.0  # e^-60: what lies deeper, on the way to gamma = 0, is below rounding


def transfer(schedule: Schedule, t: ArrayLike, t_next: ArrayLike) -> tuple[Array, Array]:
    """(alpha'/alpha, alpha' (gamma' - gamma)): the DDIM step x' = first * x + second * epsilon.

    Elementwise over times of any (broadcastable) shape. The second factor keeps full relative
    accuracy however close the times; it equals sigma' - (alpha'/alpha) sigma. ValueError for times
    outside the schedule.
    """
    ratio = np.exp(schedule.log_alpha(t_next) - schedule.log_alpha(t))
    return ratio, schedule.alpha(t_next) * schedule.gamma_change(t, t_next)


def x0_transfer(schedule: Schedule, t: ArrayLike, t_next: ArrayLike) -> tuple[Array, Array]:
    """(sigma'/sigma, alpha' - (sigma'/sigma) alpha): the DDIM step x' = first * x + second * x_0.

    Shapes and accuracy as :func:`transfer`. Exactly (0, alpha') if t_next is t_zero; ValueError
    if t is, where x holds no noise to keep.
    """
    gamma = schedule.gamma(t)
    if np.any(gamma == 0.0):
        fix = "use the epsilon form for a step away from t_zero"
        raise ValueError(f"t={schedule.t_zero!r} is t_zero, where sigma = 0: {fix}")
    ratio = schedule.sigma(t_next) / schedule.sigma(t)
    lost = np.where(ratio == 0.0, 1.0, -schedule.gamma_change(t, t_next) / gamma)
    return ratio, schedule.alpha(t_next) * lost


def epsilon_weights(schedule: Schedule, times: ArrayLike, t_next: float, *, variable: str) -> Array:
    """C_j of x' = (alpha'/alpha) x + sum_j C_j epsilon_j: alpha' * integral of l_j(u) dgamma.

    ``times``: the r + 1 interpolation nodes, the current time first, then (by convention) newest
    first; any distinct times are valid, so a corrector may list ``t_next`` itself. ``variable``:
    u, one of :data:`VARIABLES`. Returns float64 [r + 1] in the order of ``times``. ``t_next`` may
    be t_zero with any variable; a node may not, if r > 0 and u = log_gamma. ValueError otherwise.
    """
    nodes = _checked_nodes(schedule, times, t_next, variable)
    if nodes.size == 1:
        return np.atleast_1d(transfer(schedule, nodes[0], t_next)[1])
    now, after = float(schedule.gamma(nodes[0])), float(schedule.gamma(t_next))
    anchor, far = (nodes[0], t_next) if now > after else (t_next, nodes[0])
    integral = _decaying_integral(schedule, nodes, anchor, far, variable)
    return np.sign(after - now) * max(now, after) * schedule.alpha(t_next) * integral


def x0_weights(schedule: Schedule, times: ArrayLike, t_next: float, *, variable: str) -> Array:
    """D_j of x' = (sigma'/sigma) x + sum_j D_j x0_j: sigma' * integral of l_j(u) dkappa.

    Arguments and result as :func:`epsilon_weights`. At ``t_next`` = t_zero the weights are their
    limit, alpha' l_j(u(t_zero)) beside a base coefficient of 0: x_0 extrapolated to t_zero. That
    limit does not exist for u = log_gamma with r > 0 (ValueError), nor a step from t_zero.
    """
    nodes = _checked_nodes(schedule, times, t_next, variable)
    first_order = x0_transfer(schedule, nodes[0], t_next)[1]
    if nodes.size == 1:
        return np.atleast_1d(first_order)
    now, after = float(schedule.gamma(nodes[0])), float(schedule.gamma(t_next))
    if after == 0.0:
        return first_order * _limit_at_zero(schedule, nodes, variable)
    anchor, far = (nodes[0], t_next) if now < after else (t_next, nodes[0])
    integral = _decaying_integral(schedule, nodes, anchor, far, variable)
    return np.sign(now - after) * (after / min(now, after)) * schedule.alpha(t_next) * integral


def step_integral(schedule: Schedule, t: float, t_next: float, f: Callable[[Array], Array]) -> float:
    """Integral of f(time) dgamma from ``t`` to ``t_next``; f takes times of any shape and is smooth between knots."""
    now, after = float(schedule.gamma(t)), float(schedule.gamma(t_next))
    anchor, far = (t, t_next) if now > after else (t_next, t)
    y, measure = _decaying_measure(schedule, anchor, far)
    values = f(schedule.time_of_gamma(float(schedule.gamma(anchor)) * np.exp(-y)))
    return float(np.sign(after - now) * max(now, after) * np.sum(measure * values))


def _decaying_measure(schedule: Schedule, anchor: float, far: float) -> tuple[Array, Array]:
    """Nodes y = |log gamma - log gamma(anchor)| between the two times, and their weights times e^-y."""
    left, width = _panels(_edges(schedule, anchor, far))
    y = left[:, None] + width[:, None] * _NODES
    return y, width[:, None] * _WEIGHTS * np.exp(-y)


def _decaying_integral(schedule: Schedule, nodes: Array, anchor: float, far: float, variable: str) -> Array:
    """Integral over y in (0, depth) of l_j(u) e^-y, y = |log gamma - log gamma(anchor)|: [r + 1].

    With the anchor at the upper end this is the integral over gamma, with the anchor at the lower
    end that over kappa, each in units of its value at the anchor.
    """
    y, measure = _decaying_measure(schedule, anchor, far)
    outward = y if far > anchor else -y
    if variable == "log_gamma":
        at_nodes, at_y = schedule.log_gamma(nodes), schedule.log_gamma(anchor) + outward
    else:
        at_nodes, at_y = schedule.gamma(nodes), schedule.gamma(anchor) * np.exp(outward)
        if variable == "t":
            at_nodes, at_y = nodes, schedule.time_of_gamma(at_y)
    return np.sum(measure * _lagrange(at_nodes, at_y), axis=(1, 2))


def _edges(schedule: Schedule, anchor: float, far: float) -> Array:
    """y at the anchor, the knots of the schedule on the way and the far end, rising from 0."""
    knots = np.array(schedule.knots)
    knots = knots[(knots > min(anchor, far)) & (knots < max(anchor, far))]
    times = np.concatenate(([anchor], knots if far > anchor else knots[::-1], [far]))
    least = np.minimum(schedule.gamma(times), schedule.gamma(anchor))
    with np.errstate(divide="ignore"):
        edges = np.log1p(np.abs(schedule.gamma_change(anchor, times)) / least)
    return edges if np.isfinite(edges[-1]) else np.minimum(edges, _DEEPEST)


def _panels(edges: Array) -> tuple[Array, Array]:
    """Left ends and widths of panels no wider than ``_PANEL_WIDTH`` that tile the intervals."""
    counts = np.ceil(np.diff(edges) / _PANEL_WIDTH).astype(np.intp)
    width = np.repeat(np.diff(edges) / np.maximum(counts, 1), counts)
    place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.repeat(edges[:-1], counts) + place * width, width


def _limit_at_zero(schedule: Schedule, nodes: Array, variable: str) -> Array:
    """l_j(u(t_zero)), [r + 1]."""
    if variable == "log_gamma":
        fix = "give a single node for this step, or interpolate in t or gamma"
        raise ValueError(f"t_next={schedule.t_zero!r} is t_zero, where log_gamma = -inf: {fix}")
    u, zero = (schedule.gamma(nodes), 0.0) if variable == "gamma" else (nodes, schedule.t_zero)
    return _lagrange(u, np.array(zero))


def _lagrange(nodes: Array, u: Array) -> Array:
    """The basis polynomials of the nodes at u: [r + 1, *u.shape]."""
    basis = np.ones((nodes.size, *u.shape))
    for j, k in permutations(range(nodes.size), 2):
        basis[j] *= (u - nodes[k]) / (nodes[j] - nodes[k])
    return basis


def _checked_nodes(schedule: Schedule, times: ArrayLike, t_next: float, variable: str) -> Array:
    if variable not in VARIABLES:
        raise ValueError(f"variable={variable!r}: choose one of {VARIABLES}")
    gamma, gamma_next = schedule.gamma(times), schedule.gamma(t_next)  # raise outside the schedule
    if np.ndim(gamma) != 1 or gamma.size < 1 or np.ndim(gamma_next) != 0:
        shapes = f"times has shape {np.shape(times)}, t_next {np.shape(t_next)}"
        raise ValueError(f"{shapes}: give 1 or more times in 1-D and one t_next")
    if gamma_next == gamma[0]:
        raise ValueError(f"t_next={float(t_next)!r} is times[0]: a step needs two different times")
    if np.unique(gamma).size < gamma.size:
        raise ValueError(f"times={np.asarray(times).tolist()}: the nodes must differ from each other")
    if variable == "log_gamma" and gamma.size > 1 and np.any(gamma == 0.0):
        fix = "interpolate in t or gamma, or leave the node out"
        raise ValueError(f"times holds t_zero={schedule.t_zero!r}, where log_gamma = -inf: {fix}")
    return np.asarray(times, dtype=np.float64)
