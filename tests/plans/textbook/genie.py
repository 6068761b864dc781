"""GENIE (arXiv 2210.05475): truncated Taylor methods, and Hermite interpolation by confluent divided differences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mpmath import mp, mpf

from .integrals import moments
from .multistep import ddim_step
from .run import Run, Vector
from .schedules import Real, TextbookSchedule

__all__ = ["genie_hermite", "genie_ttm2", "genie_ttm3"]

Node = tuple[Real, Vector, Vector | None]  # u, the value there and, where it is known, the derivative with respect to u


def genie_ttm3(run: Run, *, derivative_below: float | None = None, afs: bool = False) -> Vector:
    """v' = v + h e + h^2/2 e_gamma + h^3/6 e_gamma_gamma, v = x / alpha."""
    s, x = run.schedule, run.x_T
    for n, (t, t_next) in enumerate(run.steps):
        gamma, h = s.gamma(t), s.gamma(t_next) - s.gamma(t)
        if afs and n == 0:
            x = ddim_step(s, x, x / mp.sqrt(s.alpha(t) ** 2 + s.sigma(t) ** 2), t, t_next)
            continue
        epsilon, (first, second) = run.evaluated(x, t)
        v = x / s.alpha(t) + h * epsilon
        if gamma and (derivative_below is None or gamma <= derivative_below):
            v = v + h**2 / 2 * first / gamma + h**3 / 6 * second / gamma**2
        x = s.alpha(t_next) * v
    return x


def genie_ttm2(run: Run, *, derivative: str = "correction", variable: str | None = None, **options: Any) -> Vector:
    """In gamma as published, corrections in log gamma."""
    variable = variable or ("log_gamma" if derivative == "correction" else "gamma")
    return genie_hermite(run, values=1, derivatives=1, variable=variable, derivative=derivative, **options)


def genie_hermite(
    run: Run,
    *,
    values: int,
    derivatives: int,
    variable: str = "log_gamma",
    quantity: str = "epsilon",
    derivative: str | None = None,
    derivative_below: float | str | None = "default",
    afs: bool = False,
) -> Vector:
    s, x = run.schedule, run.x_T
    if derivative is None:
        derivative = "correction" if derivatives < 2 else "exact"
    if derivative_below == "default":
        derivative_below = 100.0 if derivative == "head" else None
    known: list[tuple[Real, Vector, Vector | None]] = []  # time, value and d value / d log gamma, newest last
    for n, (t, t_next) in enumerate(run.steps):
        value, slope = _noise(s, x, t) if afs and n == 0 else _answer(run, x, t, derivative if derivatives else "none")
        if derivative_below is not None and s.gamma(t) > derivative_below:
            slope = None
        if derivative == "correction" and s.gamma(t_next) == 0:
            slope = None
        if quantity == "x0":
            value, slope = (x - s.sigma(t) * value) / s.alpha(t), None if slope is None else -s.gamma(t) * slope
        known.append((t, value, slope))
        if s.gamma(t_next) == 0 and (variable, quantity) == ("log_gamma", "x0"):
            x = s.alpha(t_next) * value
            continue
        latest = list(reversed(known[-values:]))
        nodes = [_node(s, variable, t, y, dy if age < derivatives else None) for age, (t, y, dy) in enumerate(latest)]
        x = _step(s, variable, quantity, x, _corrected(nodes) if derivative == "correction" else nodes, t, t_next)
    return x


def _corrected(nodes: list[Node]) -> list[Node]:
    """What is known of the newest slope is what it has beyond that of the polynomial through the values."""
    (u, value, slope), *rest = nodes
    if slope is None:
        return nodes
    z, coefficients = _newton([(at, y, None) for at, y, _ in nodes])
    for k in range(1, len(z)):
        slope = slope + coefficients[k] * mp.fprod(u - v for v in z[1:k])
    return [(u, value, slope), *rest]


def _noise(s: TextbookSchedule, x: Vector, t: Real) -> tuple[Vector, None]:
    """The analytic first step."""
    return x / mp.sqrt(s.alpha(t) ** 2 + s.sigma(t) ** 2), None


def _answer(run: Run, x: Vector, t: Real, derivative: str) -> tuple[Vector, Vector | None]:
    """epsilon and d epsilon / d log gamma."""
    epsilon, outputs = run.evaluated(x, t)
    g = run.schedule.gamma(t)
    if derivative == "none" or g == 0:
        return epsilon, None
    if derivative == "exact":
        return epsilon, outputs[0]
    k1, k2, k3 = outputs
    return epsilon, g * (k1 / -g + g / (1 + g**2) * k2 + k3 / (g * (1 + g**2)))


def _node(s: TextbookSchedule, variable: str, t: Real, value: Vector, slope: Vector | None) -> Node:
    """In u instead of log gamma."""
    gamma = s.gamma(t)
    if variable == "gamma":
        return gamma, value, None if slope is None else slope / gamma
    if variable == "t":
        rate = None if slope is None else s.diffusion_squared(t) / (2 * s.sigma(t) ** 2)
        return t, value, None if slope is None else rate * slope
    return mp.log(gamma), value, slope


def _step(
    s: TextbookSchedule, variable: str, quantity: str, x: Vector, nodes: Sequence[Node], t: Real, t_next: Real
) -> Vector:
    """The integral over gamma, or over kappa = 1 / gamma; on the way to gamma = 0 the limit of the latter."""
    z, coefficients = _newton(nodes)
    if quantity == "epsilon":
        integral = _combined(z, coefficients, moments(s, variable, t, t_next))
        return s.alpha(t_next) / s.alpha(t) * x + s.alpha(t_next) * integral
    if s.gamma(t_next) == 0:
        end = s.t_zero if variable == "t" else mpf(0)
        return s.alpha(t_next) * _combined(z, coefficients, [end**k for k in range(len(z))])
    integral = _combined(z, coefficients, moments(s, variable, t, t_next, sign=-1))
    return s.sigma(t_next) / s.sigma(t) * x + s.sigma(t_next) * integral


def _newton(nodes: Sequence[Node]) -> tuple[list[Real], list[Vector]]:
    """The nodes, twice where a derivative is known, and Newton's coefficients f[z_0], f[z_0, z_1], .."""
    z = [u for u, _, slope in nodes for _ in range(1 if slope is None else 2)]
    slopes = {u: slope for u, _, slope in nodes if slope is not None}
    column = [value for _, value, slope in nodes for _ in range(1 if slope is None else 2)]
    coefficients = [column[0]]
    for k in range(1, len(z)):
        pairs = zip(column, column[1:], z, z[k:], strict=False)
        column = [slopes[a] if a == b else (after - before) / (b - a) for before, after, a, b in pairs]
        coefficients.append(column[0])
    return z, coefficients


def _combined(z: Sequence[Real], coefficients: Sequence[Vector], powers: Sequence[Real]) -> Vector:
    """sum_k c_k (u - z_0) .. (u - z_{k-1}) with ``powers`` in place of 1, u, u^2, .."""
    total, product = Vector({}), [mpf(1)]
    for n, (node, coefficient) in enumerate(zip(z, coefficients, strict=True), start=1):
        total = total + sum(a * b for a, b in zip(product, powers[:n], strict=True)) * coefficient
        product = [a - node * b for a, b in zip([mpf(0), *product], [*product, mpf(0)], strict=True)]
    return total
