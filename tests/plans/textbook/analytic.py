"""Analytic-DPM, arXiv 2201.06503, eq. 7 to 9, on any schedule: a bar is alpha^2, beta bar sigma^2."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from mpmath import mp, mpf

from .run import Run, Vector
from .schedules import Real, TextbookSchedule

__all__ = ["analytic"]


def analytic(
    run: Run,
    *,
    eta: float,
    times: Sequence[float] = (),
    ms_eps: Sequence[float] = (),
    most: float | None = None,
    pixel_levels: float | None = None,
    noise_at_zero: bool = False,
) -> Vector:
    s, x = run.schedule, run.x_T
    nodes = sorted((s.gamma(mpf(t)), mpf(ms)) for t, ms in zip(times, ms_eps, strict=True))
    noisy = [n for n, (_, t_next) in enumerate(run.steps) if noise_at_zero or s.gamma(t_next)]
    for n, (t, t_next) in enumerate(run.steps):
        epsilon = run.epsilon(x, t)
        x0 = (x - s.sigma(t) * epsilon) / s.alpha(t)
        forward = s.sigma(t) ** 2 - (s.alpha(t) / s.alpha(t_next) * s.sigma(t_next)) ** 2
        lam = eta * s.sigma(t_next) / s.sigma(t) * mp.sqrt(forward) if eta else mpf(0)
        kept = mp.sqrt(s.sigma(t_next) ** 2 - lam**2)
        x = s.alpha(t_next) * x0 + kept * epsilon
        explained = 1 - _statistic(s, t, nodes)  # 1 - sigma^2 E|score|^2 / d
        if most is not None:
            explained = min(explained, mpf(most) / s.gamma(t) ** 2)
        std = mp.sqrt(lam**2 + (s.sigma(t) * s.alpha(t_next) / s.alpha(t) - kept) ** 2 * explained)
        if noisy and n == noisy[-1] and pixel_levels is not None:
            std = min(std, pixel_levels * mpf(2) / 255 * mp.sqrt(mp.pi / 2))
        if n in noisy and std:
            x = x + std * run.normal()
    return x


def _statistic(s: TextbookSchedule, t: Real, nodes: list[tuple[Real, Real]]) -> Real:
    """That of Gaussian data whose variance is a line in log gamma between the nodes, constant outside."""
    if not nodes:
        return mpf(1)
    gamma = s.gamma(t)
    points = [(mp.log(at), max(mpf(0), at**2 * (1 - ms) / ms)) for at, ms in nodes]
    variance = points[0][1] if mp.log(gamma) < points[0][0] else points[-1][1]
    for (left, a), (right, b) in pairwise(points):
        if left <= mp.log(gamma) <= right:
            variance = a + (b - a) * (mp.log(gamma) - left) / (right - left)
    return gamma**2 / (variance + gamma**2)
