"""40-digit integrals of the DEIS formulas, the oracle of test_numerics.

It shares nothing with the implementation. It expands the Lagrange polynomials in powers of
u and integrates those: in closed form for u = gamma and u = log gamma, for u = t by parts, so that
only gamma(t) is evaluated and no inverse is needed.
"""

from collections.abc import Callable
from functools import cache, partial
from itertools import pairwise

import numpy as np
from mpmath import exp, factorial, log, mp, mpf
from mpmath.calculus.quadrature import GaussLegendre

from genie_samplers import numerics, schedules

from . import exact_schedules
from .exact_schedules import Exact, alpha_at

gamma_at = cache(exact_schedules.gamma_at)  # here at one precision: that of the module's callers
EPS = float(np.finfo(np.float64).eps)
TOLERANCE = 1e-12  # of the largest coefficient of the row: the promise of the module

DDPM_TABLE = tuple(np.cumprod(1.0 - np.linspace(1e-4, 2e-2, 1000)).tolist())
COARSE_TABLE = tuple(np.cumprod([0.98, 0.9, 0.75, 0.5, 0.4, 0.5, 0.3, 0.35, 0.4, 0.3]).tolist())
from_table = schedules.from_alphas_cumprod
SCHEDULES: dict[str, schedules.Schedule] = {
    "vp_linear": schedules.vp_linear(),
    "vp_cosine": schedules.vp_cosine(),
    "sub_vp": schedules.sub_vp(),
    "ve": schedules.ve(),
    "edm": schedules.edm(),
    "flow": schedules.flow(t_max=4096.0 / 4097.0),
    "coarse_log_alpha": from_table(COARSE_TABLE),
    "coarse_alpha_bar": from_table(COARSE_TABLE, interpolation="alpha_bar"),
    "ddpm_log_alpha": from_table(DDPM_TABLE),
    "ddpm_alpha_bar": from_table(DDPM_TABLE, interpolation="alpha_bar"),
}
END = {"flow": 1e-3}  # where a table ends that is not to reach gamma = 0, if not at the schedule's t_end
WEIGHTS = {"epsilon": numerics.epsilon_weights, "x0": numerics.x0_weights}
FORMS, VARIABLES = tuple(WEIGHTS), numerics.VARIABLES


# The integrals.


@cache
def legendre() -> list[tuple[Exact, Exact]]:
    """48 nodes and weights on (-1, 1)."""
    return GaussLegendre(mp).calc_nodes(5, mp.prec + 20)


def quadrature(f: Callable[[Exact], Exact], low: Exact, high: Exact) -> Exact:
    middle, half = (low + high) / 2, (high - low) / 2
    return half * mp.fsum(w * f(middle + half * x) for x, w in legendre())


@cache
def breaks(schedule: schedules.Schedule, low: Exact, high: Exact) -> list[Exact]:
    """log(t - t_zero) at the ends, at the knots between, and where one of ``halves`` meets the next."""
    knots = [mpf(k) for k in schedule.knots if low < k < high]
    logs = [log(t - schedule.t_zero) for t in (low, *knots, high)]
    return [point for a, b in pairwise(logs) for point in halves(schedule, a, b)] + logs[-1:]


def halves(schedule: schedules.Schedule, a: Exact, b: Exact) -> list[Exact]:
    """Lower ends of pieces in which neither log(t - t_zero) nor log gamma, which may have a pole, grows by over 2."""
    growth = gamma_at(schedule, exp(b) + schedule.t_zero) / gamma_at(schedule, exp(a) + schedule.t_zero)
    if b - a <= 2 and log(growth) <= 2:
        return [a]
    return [*halves(schedule, a, (a + b) / 2), *halves(schedule, (a + b) / 2, b)]


@cache
def time_moment(schedule: schedules.Schedule, low: Exact, high: Exact, k: int, sign: int) -> Exact:
    """Integral of t^k d(gamma^sign) from low to high, by parts, in the variable log(t - t_zero)."""

    def boundary(t: Exact) -> Exact:
        return t**k * gamma_at(schedule, t) ** sign

    def integrand(y: Exact) -> Exact:
        t = exp(y) + schedule.t_zero
        return k * t ** (k - 1) * gamma_at(schedule, t) ** sign * exp(y)

    pieces = pairwise(breaks(schedule, low, high) if k else ())
    return boundary(high) - boundary(low) - mp.fsum(quadrature(integrand, *ab) for ab in pieces)


def gamma_antiderivative(k: int, sign: int, gamma: Exact) -> Exact:
    """Of gamma^k d(gamma^sign)."""
    return log(gamma) * sign if k + sign == 0 else sign * gamma ** (k + sign) / (k + sign)


def log_antiderivative(k: int, sign: int, gamma: Exact) -> Exact:
    """Of (log gamma)^k d(gamma^sign); its limit 0 at gamma = 0."""
    if gamma == 0:
        return mpf(0)
    powers = ((-sign) ** (k - i) * factorial(k) / factorial(i) * log(gamma) ** i for i in range(k + 1))
    return gamma**sign * mp.fsum(powers)


def moment(schedule, variable: str, k: int, sign: int, t: Exact, t_next: Exact) -> Exact:
    """Integral of u^k d(gamma^sign) from t to t_next."""
    if variable == "t":
        low, high = min(t, t_next), max(t, t_next)
        return time_moment(schedule, low, high, k, sign) * (1 if t < t_next else -1)
    closed = gamma_antiderivative if variable == "gamma" else log_antiderivative
    antiderivative = partial(closed, k, sign)
    return antiderivative(gamma_at(schedule, t_next)) - antiderivative(gamma_at(schedule, t))


def node_values(schedule, variable: str, times: list[Exact]) -> list[Exact]:
    if variable == "t":
        return times
    gammas = [gamma_at(schedule, t) for t in times]
    return gammas if variable == "gamma" else [log(g) for g in gammas]


def lagrange_powers(u: list[Exact], j: int) -> list[Exact]:
    """l_j as a list of coefficients of u^0, u^1, .."""
    powers = [mpf(1)]
    for other in (value for k, value in enumerate(u) if k != j):
        shifted, scaled = [mpf(0), *powers], [-other * c for c in powers] + [mpf(0)]
        powers = [(a + b) / (u[j] - other) for a, b in zip(shifted, scaled, strict=True)]
    return powers


def exact_weights(form: str, schedule, times, t_next: float, variable: str) -> list[Exact]:
    """alpha' * integral of l_j dgamma, or sigma' * integral of l_j dkappa."""
    nodes, arrival, sign = [mpf(t) for t in times], mpf(t_next), 1 if form == "epsilon" else -1
    scale = alpha_at(schedule, arrival)
    if form == "x0":
        scale *= gamma_at(schedule, arrival)
    moments = [moment(schedule, variable, k, sign, nodes[0], arrival) for k in range(len(nodes))]
    u = node_values(schedule, variable, nodes)
    rows = [lagrange_powers(u, j) for j in range(len(nodes))]
    return [scale * mp.fdot(row, moments) for row in rows]


def row_error(form: str, schedule, times, t_next: float, variable: str) -> float:
    """Largest error of a coefficient, relative to the row's largest coefficient."""
    row = WEIGHTS[form](schedule, times, t_next, variable=variable).tolist()
    exact = exact_weights(form, schedule, times, t_next, variable)
    errors = (abs(c - true) for c, true in zip(row, exact, strict=True))
    return float(max(errors) / max(map(abs, exact)))


def worst_row_error(form: str, schedule, grid: np.ndarray, order: int, variable: str) -> float:
    """Over the rows of a whole table, lower orders at its start."""
    times = grid.tolist()
    history = [times[max(n - order, 0) : n + 1][::-1] for n in range(len(times) - 1)]
    steps = zip(history, times[1:], strict=True)
    return max(row_error(form, schedule, nodes, t, variable) for nodes, t in steps)
