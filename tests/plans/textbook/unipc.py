"""UniPC (arXiv 2302.04867): a predictor and a corrector that share the evaluation, in data prediction."""

from __future__ import annotations

from collections.abc import Sequence

from mpmath import factorial, mp, mpf

from .run import Run, Vector, combination
from .schedules import Real

__all__ = ["unipc"]


def unipc(run: Run, *, order: int, variant: str = "bh2", lower_order_final: bool = True) -> Vector:
    """UniP predicts, the network is asked, UniC corrects with the answer; the last state is the predicted one."""
    s, x, x0s, count = run.schedule, run.x_T, [run.x0(run.x_T, run.times[0])], len(run.steps)
    for n, (t, t_next) in enumerate(run.steps):
        if s.gamma(t_next) == 0:
            return s.alpha(t_next) * x0s[n]
        hh = s.lam(t) - s.lam(t_next)
        scale = {"bh1": hh, "bh2": mp.expm1(hh)}[variant]
        p = min(order, n + 1, count - n) if lower_order_final else min(order, n + 1)
        r, d = _differences(run, x0s, n, p)
        base = s.sigma(t_next) / s.sigma(t) * x - s.alpha(t_next) * mp.expm1(hh) * x0s[n]
        predicted = base - s.alpha(t_next) * scale * combination(_predictor(r, hh, scale), d)
        if n == count - 1:
            return predicted
        x0s.append(run.x0(predicted, t_next))
        x = base - s.alpha(t_next) * scale * combination(_corrector(r, hh, scale), [*d, x0s[n + 1] - x0s[n]])
    raise ValueError("a run has at least one step")


def _differences(run: Run, x0s: Sequence[Vector], n: int, p: int) -> tuple[list[Real], list[Vector]]:
    """r_i and D_i = (m_{n-i} - m_n) / r_i, i = 1 .. p - 1."""
    lam, times = run.schedule.lam, run.times
    r = [(lam(times[n - i]) - lam(times[n])) / (lam(times[n + 1]) - lam(times[n])) for i in range(1, p)]
    return r, [(x0s[n - i] - x0s[n]) / r_i for i, r_i in enumerate(r, 1)]


def _predictor(r: Sequence[Real], hh: Real, scale: Real) -> list[Real]:
    return [mpf(1) / 2] if len(r) == 1 else _solved(r, hh, scale)


def _corrector(r: Sequence[Real], hh: Real, scale: Real) -> list[Real]:
    return [mpf(1) / 2] if len(r) == 0 else _solved([*r, mpf(1)], hh, scale)


def _solved(r: Sequence[Real], hh: Real, scale: Real) -> list[Real]:
    """w of sum_i r_i^(k-1) w_i = phi_k(hh) k! / B(hh), k = 1 .. len(r)."""
    if not r:
        return []
    phi, right = mp.expm1(hh) / hh - 1, []
    for k in range(1, len(r) + 1):
        right.append(phi * factorial(k) / scale)
        phi = phi / hh - 1 / factorial(k + 1)
    left = mp.matrix([[r_i**k for r_i in r] for k in range(len(r))])
    return list(mp.lu_solve(left, mp.matrix(right)))
