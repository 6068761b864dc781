"""Methods of flow matching (arXiv 2210.02747): Adams-Bashforth and Runge-Kutta on the straight path from data to noise.

On dz/ds = velocity, z = x / (alpha + sigma), s = sigma / (alpha + sigma): on a flow schedule dx/dt = velocity itself.
"""

from __future__ import annotations

from mpmath import mp

from .integrals import lagrange_integrals
from .multistep import GRADUAL
from .run import Run, Vector, combination
from .schedules import Real, TextbookSchedule
from .singlestep import TABLEAUS

__all__ = ["flow_ab", "flow_rk"]

WITHOUT_THE_END = {"midpoint": "midpoint", "euler": "euler", "heun": "euler", "rk4": "heun3"}


def flow_ab(run: Run, *, order: int, warmup: str = "lower_order") -> Vector:
    """z' = z + integral over s of the polynomial through the last velocities."""
    s, velocities = run.schedule, list[Vector]()
    z = run.x_T / _scale(s, run.times[0])
    for n, (t, t_next) in enumerate(run.steps):
        velocities.append(_velocity(run, z, t))
        most = min(order, GRADUAL[n]) if warmup == "gradual" else order
        latest = velocities[-most:]
        nodes = [_share(s, time) for time in run.times[n + 1 - len(latest) : n + 1]]
        low, high = _share(s, t), _share(s, t_next)
        moments = [(high ** (k + 1) - low ** (k + 1)) / (k + 1) for k in range(len(nodes))]
        z = z + combination(lagrange_integrals(nodes, moments), latest)
    return _scale(s, run.times[-1]) * z


def flow_rk(run: Run, *, tableau: str) -> Vector:
    """An explicit method; in a step to clean data one that asks nothing there."""
    s = run.schedule
    z = run.x_T / _scale(s, run.times[0])
    for t, t_next in run.steps:
        c, a, b = TABLEAUS[WITHOUT_THE_END[tableau] if s.gamma(t_next) == 0 else tableau]
        start, h = _share(s, t), _share(s, t_next) - _share(s, t)
        slopes: list[Vector] = []
        for part, row in zip(c.split(), ["", *a], strict=True):
            time = {"0": t, "1": t_next}[part] if part in "01" else _time(s, start + mp.mpmathify(part) * h)
            slopes.append(_velocity(run, z + h * combination(map(mp.mpmathify, row.split()), slopes), time))
        z = z + h * combination(map(mp.mpmathify, b.split()), slopes)
    return _scale(s, run.times[-1]) * z


def _velocity(run: Run, z: Vector, t: Real) -> Vector:
    """epsilon - x_0"""
    x = _scale(run.schedule, t) * z
    epsilon = run.epsilon(x, t)
    return epsilon - (x - run.schedule.sigma(t) * epsilon) / run.schedule.alpha(t)


def _scale(s: TextbookSchedule, t: Real) -> Real:
    return s.alpha(t) + s.sigma(t)


def _share(s: TextbookSchedule, t: Real) -> Real:
    return s.sigma(t) / _scale(s, t)


def _time(s: TextbookSchedule, share: Real) -> Real:
    return s.time_of_gamma(share / (1 - share))
