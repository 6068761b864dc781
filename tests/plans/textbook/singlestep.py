"""Singlestep methods: Runge-Kutta in gamma (DEIS, arXiv 2204.13902; EDM, 2206.00364) and DPM-Solver (2206.00927)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from mpmath import mp, mpf

from .multistep import ddim_step
from .run import Run, Vector, combination
from .schedules import Real

__all__ = ["deis_rho_rk", "dpm_solver", "edm_heun"]

TABLEAUS: dict[str, tuple[str, Sequence[str], str]] = {
    "euler": ("0", [], "1"),
    "heun": ("0 1", ["1"], "1/2 1/2"),
    "midpoint": ("0 1/2", ["1/2"], "0 1"),
    "kutta3": ("0 1/2 1", ["1/2", "-1 2"], "1/6 4/6 1/6"),
    "ralston3": ("0 1/2 3/4", ["1/2", "0 3/4"], "2/9 1/3 4/9"),
    "heun3": ("0 1/3 2/3", ["1/3", "0 2/3"], "1/4 0 3/4"),
    "houwen3": ("0 8/15 2/3", ["8/15", "1/4 5/12"], "1/4 0 3/4"),
    "ssprk3": ("0 1 1/2", ["1", "1/4 1/4"], "1/6 1/6 2/3"),
    "rk4": ("0 1/2 1/2 1", ["1/2", "0 1/2", "0 0 1"], "1/6 1/3 1/3 1/6"),
}  # c, the rows of A below the first, b


@cache
def _numbers(text: str) -> list[Real]:
    return [mp.mpmathify(entry) for entry in text.split()]


def deis_rho_rk(run: Run, *, tableau: str) -> Vector:
    """Explicit Runge-Kutta on dv/dgamma = epsilon, v = x / alpha; Euler in a step to gamma = 0."""
    s = run.schedule
    v = run.x_T / s.alpha(run.times[0])
    for t, t_next in run.steps:
        c, a, b = TABLEAUS["euler" if s.gamma(t_next) == 0 else tableau]
        h = s.gamma(t_next) - s.gamma(t)
        slopes: list[Vector] = []
        for part, row in zip(_numbers(c), ["", *a], strict=True):
            stage = v + h * combination(_numbers(row), slopes)
            time = {0: t, 1: t_next}[part] if part in (0, 1) else s.time_of_gamma(s.gamma(t) + part * h)
            slopes.append(run.epsilon(s.alpha(time) * stage, time))
        v = v + h * combination(_numbers(b), slopes)
    return s.alpha(run.times[-1]) * v


def edm_heun(
    run: Run, *, s_churn: float = 0.0, s_min: float = 0.0, s_max: float = mp.inf, s_noise: float = 1.0
) -> Vector:
    """EDM's algorithm 2 on v = x / alpha. gamma never leaves the schedule, whose largest is taken to be the start's."""
    s = run.schedule
    v = run.x_T / s.alpha(run.times[0])
    for t, t_next in run.steps:
        gamma, gamma_next = s.gamma(t), s.gamma(t_next)
        rate = min(mpf(s_churn) / len(run.steps), mp.sqrt(2) - 1) if s_min <= gamma <= s_max else 0
        raised = min(gamma * (1 + rate), max(map(s.gamma, run.times)))
        t_hat = s.time_of_gamma(raised) if raised > gamma else t
        if raised > gamma:
            v = v + s_noise * mp.sqrt(raised**2 - gamma**2) * run.normal()
        d = run.epsilon(s.alpha(t_hat) * v, t_hat)
        euler = v + (gamma_next - raised) * d
        if gamma_next == 0:
            v = euler
        else:
            v = v + (gamma_next - raised) * (d + run.epsilon(s.alpha(t_next) * euler, t_next)) / 2
    return s.alpha(run.times[-1]) * v


def dpm_solver(run: Run, *, order: int, orders: Sequence[int] | None = None) -> Vector:
    """DPM-Solver-1, 2 (r1 = 1/2) and 3 (r1 = 1/3, r2 = 2/3), one of them per interval; 1 in a step to gamma = 0."""
    x = run.x_T
    for n, (t, t_next) in enumerate(run.steps):
        chosen = 1 if run.schedule.gamma(t_next) == 0 else orders[n] if orders else order
        x = {1: _dpm_solver_1, 2: _dpm_solver_2, 3: _dpm_solver_3}[chosen](run, x, t, t_next)
    return x


def _dpm_solver_1(run: Run, x: Vector, t: Real, t_next: Real) -> Vector:
    return ddim_step(run.schedule, x, run.epsilon(x, t), t, t_next)


def _dpm_solver_2(run: Run, x: Vector, t: Real, t_next: Real) -> Vector:
    s = run.schedule
    h = s.lam(t_next) - s.lam(t)
    s1 = s.time_of_lam(s.lam(t) + h / 2)
    u = s.alpha(s1) / s.alpha(t) * x - s.sigma(s1) * mp.expm1(h / 2) * run.epsilon(x, t)
    return s.alpha(t_next) / s.alpha(t) * x - s.sigma(t_next) * mp.expm1(h) * run.epsilon(u, s1)


def _dpm_solver_3(run: Run, x: Vector, t: Real, t_next: Real) -> Vector:
    s, r1, r2 = run.schedule, mpf(1) / 3, mpf(2) / 3
    h = s.lam(t_next) - s.lam(t)
    s1, s2 = (s.time_of_lam(s.lam(t) + r * h) for r in (r1, r2))
    e = run.epsilon(x, t)
    u1 = s.alpha(s1) / s.alpha(t) * x - s.sigma(s1) * mp.expm1(r1 * h) * e
    d1 = run.epsilon(u1, s1) - e
    p2 = mp.expm1(r2 * h) / (r2 * h) - 1
    u2 = s.alpha(s2) / s.alpha(t) * x - s.sigma(s2) * mp.expm1(r2 * h) * e - s.sigma(s2) * r2 / r1 * p2 * d1
    d2 = run.epsilon(u2, s2) - e
    p = mp.expm1(h) / h - 1
    return s.alpha(t_next) / s.alpha(t) * x - s.sigma(t_next) * mp.expm1(h) * e - s.sigma(t_next) / r2 * p * d2
