"""DPM-Solver++ (arXiv 2211.01095): multistep methods that predict x0."""

from __future__ import annotations

from collections.abc import Sequence

from mpmath import mp, mpf

from .integrals import lagrange_integrals, moments
from .run import Run, Vector, combination

__all__ = ["dpmpp", "dpmpp_2m_sde"]


def _order(run: Run, n: int, order: int, lower_order_final: bool | None) -> int:
    """At most the number of outputs and (by default in short grids only) of steps left; 1 in a step to gamma = 0."""
    steps = len(run.steps)
    if run.schedule.gamma(run.times[n + 1]) == 0:
        return 1
    lowered = steps < 10 if lower_order_final is None else lower_order_final
    return min(order, n + 1, steps - n if lowered else order)


def dpmpp(run: Run, *, order: int, variant: str, lower_order_final: bool | None = None) -> Vector:
    x, x0s = run.x_T, []
    for n, (t, t_next) in enumerate(run.steps):
        x0s.append(run.x0(x, t))
        chosen = _order(run, n, order, lower_order_final)
        if run.schedule.gamma(t_next) == 0:
            x = run.schedule.alpha(t_next) * x0s[-1]
        else:
            x = {"published": _published, "exact": _exact}[variant](run, x, x0s[-chosen:], n)
    return x


def _exact(run: Run, x: Vector, x0s: Sequence[Vector], n: int) -> Vector:
    """x' = (sigma'/sigma) x + sigma' integral over kappa = e^lambda of the polynomial in lambda through the x0s."""
    s, (t, t_next) = run.schedule, run.steps[n]
    nodes = [-s.lam(u) for u in run.times[n + 1 - len(x0s) : n + 1]]
    integrals = lagrange_integrals(nodes, moments(s, "log_gamma", t, t_next, sign=-1))
    return s.sigma(t_next) / s.sigma(t) * x + s.sigma(t_next) * combination(integrals, x0s)


def _published(run: Run, x: Vector, x0s: Sequence[Vector], n: int) -> Vector:
    """The authors' 1M, 2M and 3M."""
    s, (t, t_next) = run.schedule, run.steps[n]
    h = s.lam(t_next) - s.lam(t)
    p1 = mp.expm1(-h)
    p2 = p1 / h + 1
    p3 = p2 / h - mpf(1) / 2
    x = s.sigma(t_next) / s.sigma(t) * x
    m = list(reversed(x0s))
    r = [(s.lam(run.times[n - k]) - s.lam(run.times[n - k - 1])) / h for k in range(len(m) - 1)]
    if len(m) == 1:
        return x - s.alpha(t_next) * p1 * m[0]
    if len(m) == 2:
        return x - s.alpha(t_next) * p1 * (m[0] + (m[0] - m[1]) / r[0] / 2)
    d10, d11 = (m[0] - m[1]) / r[0], (m[1] - m[2]) / r[1]
    d1 = d10 + r[0] / (r[0] + r[1]) * (d10 - d11)
    d2 = (d10 - d11) / (r[0] + r[1])
    return x - s.alpha(t_next) * p1 * m[0] + s.alpha(t_next) * p2 * d1 - s.alpha(t_next) * p3 * d2


def dpmpp_2m_sde(run: Run, *, eta: float = 1.0, lower_order_final: bool | None = None) -> Vector:
    s, x, x0s = run.schedule, run.x_T, []
    for n, (t, t_next) in enumerate(run.steps):
        x0s.append(run.x0(x, t))
        if s.gamma(t_next) == 0:
            x = s.alpha(t_next) * x0s[-1]
            continue
        h, m = s.lam(t_next) - s.lam(t), x0s[-1]
        if _order(run, n, 2, lower_order_final) == 2:
            r = (s.lam(t) - s.lam(run.times[n - 1])) / h
            m = m + (x0s[-1] - x0s[-2]) / (2 * r)
        x = s.sigma(t_next) / s.sigma(t) * mp.exp(-eta * h) * x - s.alpha(t_next) * mp.expm1(-(1 + eta) * h) * m
        if eta:
            x = x + s.sigma(t_next) * mp.sqrt(-mp.expm1(-2 * eta * h)) * run.normal()
    return x
