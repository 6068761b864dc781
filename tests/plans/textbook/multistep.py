"""Multistep methods that predict epsilon: DEIS's Adams-Bashforth (arXiv 2204.13902) and PNDM's (2202.09778)."""

from __future__ import annotations

from collections.abc import Sequence

from mpmath import mpf

from .integrals import lagrange_integrals, moments
from .run import Run, Vector, combination
from .schedules import Real, TextbookSchedule

__all__ = ["adams_bashforth", "ddim_step", "deis", "f_pndm", "ipndm", "s_pndm"]


GRADUAL = (1, 2, 2, 2, 3, 3, 4, 4, 4)  # outputs used in step 0, 1, ..


def ddim_step(s: TextbookSchedule, x: Vector, epsilon: Vector, t: Real, t_next: Real) -> Vector:
    """Predict x0, put it back at t_next."""
    x0 = (x - s.sigma(t) * epsilon) / s.alpha(t)
    return s.alpha(t_next) * x0 + s.sigma(t_next) * epsilon


# --- DEIS


def deis(run: Run, *, variable: str, order: int, warmup: str = "lower_order") -> Vector:
    """x' = (a'/a) x + a' integral over gamma of the polynomial in u through the last order + 1 outputs.

    The corrected warm-up first replaces x_n by what the polynomial through all outputs so far makes of x_0, the gradual
    one takes fewer outputs than there are.
    """
    s, x, epsilons = run.schedule, run.x_T, []
    for n, (t, t_next) in enumerate(run.steps):
        epsilons.append(run.epsilon(x, t))
        if warmup == "corrected" and 1 <= n <= order:
            so_far = combination([1] * n, (_integral(run, variable, epsilons, n, interval) for interval in range(n)))
            x = s.alpha(t) / s.alpha(run.times[0]) * run.x_T + s.alpha(t) * so_far
        latest = epsilons[-min(order + 1, GRADUAL[n] if warmup == "gradual" else 4) :]
        x = s.alpha(t_next) / s.alpha(t) * x + s.alpha(t_next) * _integral(run, variable, latest, n, n)
    return x


def _integral(run: Run, variable: str, epsilons: Sequence[Vector], newest: int, interval: int) -> Vector:
    """Over gamma across one interval of the grid, of the polynomial through outputs of which the last is of time
    ``newest``."""
    s, times = run.schedule, run.times[newest + 1 - len(epsilons) : newest + 1]
    u = {"t": lambda t: t, "gamma": s.gamma, "log_gamma": lambda t: -s.lam(t)}[variable]
    integrals = lagrange_integrals([u(t) for t in times], moments(s, variable, *run.steps[interval]))
    return combination(integrals, epsilons)


# --- PNDM


def adams_bashforth(epsilons: Sequence[Vector], order: int) -> Vector:
    """The classical weights of equal steps, on as many of the last outputs as there are."""
    weights, divisor = {
        1: ((1,), 1),
        2: ((3, -1), 2),
        3: ((23, -16, 5), 12),
        4: ((55, -59, 37, -9), 24),
    }[min(order, len(epsilons))]
    return combination((mpf(w) / divisor for w in weights), reversed(epsilons[-len(weights) :]))


def ipndm(run: Run, *, order: int, warmup: str = "lower_order") -> Vector:
    s, x, epsilons = run.schedule, run.x_T, []
    for n, (t, t_next) in enumerate(run.steps):
        epsilons.append(run.epsilon(x, t))
        most = min(order, GRADUAL[n]) if warmup == "gradual" else order
        x = ddim_step(s, x, adams_bashforth(epsilons, most), t, t_next)
    return x


def s_pndm(run: Run, *, most: int = 2) -> Vector:
    """The first step is the pseudo improved Euler method; only its first output enters the history."""
    s, x, epsilons = run.schedule, run.x_T, []
    for n, (t, t_next) in enumerate(run.steps):
        epsilons.append(run.epsilon(x, t))
        slope = adams_bashforth(epsilons, most)
        if n == 0 and s.gamma(t_next) != 0:
            predicted = ddim_step(s, x, epsilons[0], t, t_next)
            slope = (epsilons[0] + run.epsilon(predicted, t_next)) / 2
        x = ddim_step(s, x, slope, t, t_next)
    return x


def f_pndm(run: Run) -> Vector:
    """The first three steps are pseudo Runge-Kutta; only their first outputs enter the history."""
    s, x, epsilons = run.schedule, run.x_T, []
    for n, (t, t_next) in enumerate(run.steps):
        epsilons.append(run.epsilon(x, t))
        if n >= 3:
            slope = adams_bashforth(epsilons, 4)
        elif s.gamma(t_next) == 0:
            slope = epsilons[-1]
        else:
            slope = _pseudo_runge_kutta(run, x, epsilons[-1], t, t_next)
        x = ddim_step(s, x, slope, t, t_next)
    return x


def _pseudo_runge_kutta(run: Run, x: Vector, e1: Vector, t: Real, t_next: Real) -> Vector:
    s, middle = run.schedule, (t + t_next) / 2
    e2 = run.epsilon(ddim_step(s, x, e1, t, middle), middle)
    e3 = run.epsilon(ddim_step(s, x, e2, t, middle), middle)
    e4 = run.epsilon(ddim_step(s, x, e3, t, t_next), t_next)
    return (e1 + 2 * e2 + 2 * e3 + e4) / 6
