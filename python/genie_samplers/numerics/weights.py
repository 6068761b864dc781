"""Exponential integrators' weights: integrals of the polynomials through past outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._arguments import boolean, choice
from ..schedules import Schedule
from .quadrature import UNIT_NODES, UNIT_WEIGHTS, nodes_of_step
from .transfers import transfer, x0_transfer
from .variables import (
    VARIABLES,
    hermite_basis,
    lagrange_basis,
    log_gamma_rate,
    node_values,
    pure_noise_value,
    zero_value,
)

__all__ = ["HermiteWeights", "epsilon_weights", "flow_weights", "hermite_weights", "x0_weights"]

Array = NDArray[np.float64]
_QUANTITIES = ("epsilon", "x0")


class HermiteWeights(NamedTuple):
    """Of the values and of the gamma_d_epsilon of the nodes, float64 [r + 1] each, 0 where a derivative is not used."""

    values: Array
    derivatives: Array


def epsilon_weights(schedule: Schedule, times: ArrayLike, t_next: float, *, variable: str) -> Array:
    """C_j of x' = (alpha'/alpha) x + sum_j C_j epsilon_j: alpha' * integral of l_j(u) dgamma.

    ``times``: the r + 1 interpolation nodes, the current time first, then (by convention) newest
    first; any distinct times are valid, so a corrector may list ``t_next`` itself. ``variable``:
    u, one of :data:`VARIABLES`. Returns float64 [r + 1] in the order of ``times``. ``t_next`` may
    be t_zero with any variable; a node may not, if r > 0 and u = log_gamma. ValueError otherwise.
    """
    return _integrals(schedule, times, t_next, None, variable, "epsilon")[0]


def x0_weights(schedule: Schedule, times: ArrayLike, t_next: float, *, variable: str) -> Array:
    """D_j of x' = (sigma'/sigma) x + sum_j D_j x0_j: sigma' * integral of l_j(u) dkappa.

    Arguments and result as :func:`epsilon_weights`. At ``t_next`` = t_zero the weights are their
    limit, alpha' l_j(u(t_zero)) beside a base coefficient of 0: x_0 extrapolated to t_zero. That
    limit does not exist for u = log_gamma with r > 0 (ValueError), nor a step from t_zero.
    """
    return _integrals(schedule, times, t_next, None, variable, "x0")[0]


def flow_weights(schedule: Schedule, times: ArrayLike, t_next: float) -> Array:
    """W_j of z' = z + sum_j W_j flow_j, z = x / (alpha + sigma), flow = epsilon - x_0: the integral of l_j(s) ds.

    ``times``: the r + 1 nodes, the current time first; s = sigma / (alpha + sigma), which is the time itself on a flow
    schedule. Finite at alpha = 0 and at sigma = 0. Float64 [r + 1]. ValueError for times outside the schedule or equal.
    """
    s, s_next = schedule.noise_share(times), float(schedule.noise_share(t_next))
    if np.ndim(s) != 1 or np.unique(s).size < np.size(s) or s_next == s[0]:
        raise ValueError(f"times={np.asarray(times).tolist()}, t_next={float(t_next)!r}: give different times in 1-D")
    change = s_next - s[0]
    basis = lagrange_basis(s, s[0] + change * UNIT_NODES)
    return change * basis @ UNIT_WEIGHTS


def hermite_weights(
    schedule: Schedule,
    times: ArrayLike,
    t_next: float,
    *,
    derivatives: Sequence[bool],
    variable: str,
    quantity: str,
) -> HermiteWeights:
    """Weights of values and of d epsilon / d log gamma: the integral of the polynomial that takes all of them.

    ``derivatives``: for each of ``times`` whether its derivative is given, too, as gamma_d_epsilon = gamma d epsilon /
    d gamma along the ODE; without any the values' weights are those of :func:`epsilon_weights` or, with ``quantity`` =
    "x0", of :func:`x0_weights`. That x_0 has the derivative d x_0 / d log gamma = -gamma gamma_d_epsilon is part of the
    weights. Other arguments, accuracy and errors as there; no derivative is given at t_zero (ValueError).
    """
    choice(quantity, "quantity", _QUANTITIES)
    twice = [boolean(given, f"derivatives[{j}]") for j, given in enumerate(derivatives)]
    return HermiteWeights(*_integrals(schedule, times, t_next, twice, variable, quantity))


def _integrals(
    schedule: Schedule, times: ArrayLike, t_next: float, twice: Sequence[bool] | None, variable: str, quantity: str
) -> Array:
    """Weights of the values and of gamma_d_epsilon, [2, r + 1]."""
    nodes = _checked_nodes(schedule, times, t_next, variable)
    given = twice is not None and any(twice)
    twice = [False] * nodes.size if twice is None else twice
    if given or len(twice) != nodes.size:
        _check_derivatives(schedule, nodes, twice)
    weights = np.zeros((2, nodes.size))
    u = node_values(schedule, nodes, variable)
    known = np.isfinite(u)
    if not known[1:].all():  # the polynomial's limit as a node goes to infinity is that without it
        inner = [bool(given) for given, kept in zip(twice, known, strict=True) if kept]
        weights[:, known] = _integrals(schedule, nodes[known], t_next, inner, variable, quantity)
        return weights
    first_order = (transfer if quantity == "epsilon" else x0_transfer)(schedule, float(nodes[0]), float(t_next))[1]
    if nodes.size > 1 or given:
        if quantity == "x0" and schedule.gamma(t_next) == 0.0:
            weights = first_order * hermite_basis(u, twice, np.array(zero_value(schedule, variable)))
        elif quantity == "epsilon" and np.isinf(schedule.gamma(t_next)):
            weights = first_order * hermite_basis(u, twice, np.array(pure_noise_value(schedule, variable)))
        else:
            weights = _step(schedule, float(nodes[0]), float(t_next), u, twice, variable, quantity)
    if given:
        weights[1] *= _derivative_units(schedule, nodes, twice, variable, quantity)
    if nodes.size == 1:
        weights[0] = first_order
    return weights


def _step(
    schedule: Schedule, t: float, t_next: float, u: Array, twice: Sequence[bool], variable: str, quantity: str
) -> Array:
    """Integrals of the basis over the step, from t to t_next over gamma (epsilon) or kappa (x0), [2, r + 1]."""
    now, after = float(schedule.gamma(t)), float(schedule.gamma(t_next))
    direct = now > after if quantity == "epsilon" else now < after
    anchor, far = (t, t_next) if direct else (t_next, t)
    nodes = nodes_of_step(schedule, anchor, far)
    at_nodes = nodes.values(variable)
    if any(twice):
        integral = np.sum(nodes.measure * hermite_basis(u, twice, at_nodes), axis=2)
    else:
        integral = np.zeros((2, u.size))
        basis = lagrange_basis(u, at_nodes)
        basis *= nodes.measure  # in place: fresh memory costs as much as the arithmetic
        integral[0] = basis.sum(axis=1)
    if quantity == "epsilon":
        return np.sign(after - now) * max(now, after) * schedule.alpha(t_next) * integral
    return np.sign(now - after) * (after / min(now, after)) * schedule.alpha(t_next) * integral


def _derivative_units(schedule: Schedule, nodes: Array, twice: Sequence[bool], variable: str, quantity: str) -> Array:
    """d(epsilon or x_0)/du per gamma_d_epsilon at the nodes that carry one, 0 at the others."""
    units, chosen = np.zeros(nodes.size), np.array(twice)
    units[chosen] = log_gamma_rate(schedule, nodes[chosen], variable)
    return units if quantity == "epsilon" else -schedule.gamma(nodes) * units


def _checked_nodes(schedule: Schedule, times: ArrayLike, t_next: float, variable: str) -> Array:
    if variable not in VARIABLES:
        raise ValueError(f"variable={variable!r}: choose one of {VARIABLES}")
    gamma, gamma_next = schedule.gamma(times), schedule.gamma(t_next)  # raise outside the schedule
    if np.ndim(gamma) != 1 or gamma.size < 1 or np.ndim(gamma_next) != 0:
        shapes = f"times has shape {np.shape(times)}, t_next {np.shape(t_next)}"
        raise ValueError(f"{shapes}: give 1 or more times in 1-D and one t_next")
    if gamma_next == gamma[0]:
        raise ValueError(f"t_next={float(t_next)!r} is times[0]: a step needs two different times")
    if len(set(gamma.tolist())) < gamma.size:
        raise ValueError(f"times={np.asarray(times).tolist()}: the nodes must differ from each other")
    if variable == "log_gamma" and gamma.size > 1 and np.any(gamma == 0.0):
        fix = "interpolate in t or gamma, or leave the node out"
        raise ValueError(f"times holds t_zero={schedule.t_zero!r}, where log_gamma = -inf: {fix}")
    return np.asarray(times, dtype=np.float64)


def _check_derivatives(schedule: Schedule, nodes: Array, twice: Sequence[bool]) -> None:
    if len(twice) != nodes.size:
        raise ValueError(f"derivatives has {len(twice)} entries for {nodes.size} times: give one for each")
    if np.any(schedule.gamma(nodes[np.array(twice)]) == 0.0):
        raise ValueError(f"derivatives: that at t_zero={schedule.t_zero!r} is given, where gamma = 0: leave it out")
