"""Analytic-DPM: DDPM and DDIM with the reverse variance that is best for the network, from statistics of the data."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._arguments import boolean, real, reals
from ..plan import Plan
from ..schedules import Schedule
from .building import Update, checked_grid, from_pure_noise, multistep
from .posterior import checked_eta, posterior_update
from .registry import Solver, register

__all__ = ["analytic"]

Array = NDArray[np.float64]

_UNMEASURED = "without measured ms_eps: the steps of ddpm or ddim"
_PIXEL_LEVEL = 2.0 / 255.0 * math.sqrt(math.pi / 2.0)  # deviation of noise whose mean size is one level of [-1, 1]


def analytic(
    schedule: Schedule,
    grid: ArrayLike,
    *,
    eta: float = 1.0,
    times: Sequence[float] | None = None,
    ms_eps: Sequence[float] | None = None,
    most: float | None = None,
    pixel_levels: float | None = None,
    noise_at_zero: bool = False,
    prediction: str = "epsilon",
) -> Plan:
    """DDIM's step with the optimal isotropic variance of the reverse step.

        x' = (a'/a) x + (sqrt(sigma'^2 - c^2) - (a'/a) sigma) eps + s z,     c = eta sigma' sqrt(1 - (gamma'/gamma)^2)
        s^2 = c^2 + (a' - sqrt(sigma'^2 - c^2) / gamma)^2 v,     v = gamma^2 (1 - ms_eps(t)), the variance of x_0 | x

    times, ms_eps: E|eps|^2 / d of the network over noised data, in (0, ..), measured at these times
    (``calibrate.analytic``). Between them the variance of Gaussian data of the same statistic, gamma^2 (1 - ms) / ms,
    is interpolated in log gamma: exact on Gaussian data. Without them v = 0, so that eta = 1 is ddpm and eta = 0 ddim.
    most: bound of v, 1 for data in [-1, 1]. pixel_levels: bound of the mean size of the last noise, in levels of 255
    of data in [-1, 1]; published 1 or 2 for eta = 1, 1 for eta = 0, None for no bound. noise_at_zero: draw in a step
    to gamma = 0, too, as the law of the data wants and nobody does.
    Order 1, one evaluation per step, no history; on Gaussian data every variance is exact at any number of steps. Bao
    et al., arXiv 2201.06503. There, with clipping, eta = 0 keeps the unclipped eps; ``make_plan(clip=)`` makes it anew.
    """
    steps = checked_grid(schedule, grid)
    eta = checked_eta(eta, steps)
    known = _statistics(schedule, times, ms_eps)
    bounds = {"most": _bound(most, "most"), "pixel_levels": _bound(pixel_levels, "pixel_levels")}
    noise_at_zero = boolean(noise_at_zero, "noise_at_zero")
    if known is not None and steps[1] > steps[0]:
        raise ValueError("ms_eps: on a rising grid; encoding is deterministic, so leave times and ms_eps out")
    variances = np.zeros(len(steps)) if known is None else _posterior_variances(schedule, steps, known, bounds["most"])
    updates = [
        _update(schedule, t, t_next, eta, variance, noise_at_zero)
        for (t, t_next), variance in zip(itertools.pairwise(steps), variances[:-1].tolist(), strict=True)
    ]
    _bound_last(updates, bounds["pixel_levels"])
    options = {
        "eta": eta, "times": None if known is None else tuple(known[0].tolist()),
        "ms_eps": None if known is None else tuple(known[1].tolist()), **bounds, "noise_at_zero": noise_at_zero,
    }  # fmt: skip
    plan = multistep(
        "analytic_ddim", schedule, steps, updates, prediction=prediction, quantity="epsilon", options=options
    )
    if known is not None:
        return plan
    return replace(plan, note=_UNMEASURED + ("" if bounds["pixel_levels"] is None else ", but for pixel_levels"))


def _update(schedule: Schedule, t: float, t_next: float, eta: float, variance: float, noise_at_zero: bool) -> Update:
    step = posterior_update(schedule, t, t_next, eta)
    if variance == 0.0 or (t_next == schedule.t_zero and not noise_at_zero):
        return step
    if from_pure_noise(schedule, t):
        of_x0 = float(schedule.alpha(t_next))
    else:
        of_x0 = -step.weights[0] / float(schedule.gamma(t))
    return step._replace(noise=math.hypot(step.noise, of_x0 * math.sqrt(variance)))


def _posterior_variances(schedule: Schedule, steps: Array, known: tuple[Array, Array], most: float | None) -> Array:
    """Of x_0 given x, at each time; 0 at gamma = 0."""
    at, ms_eps = known
    gammas, finite = schedule.gamma(at), np.isfinite(schedule.gamma(at))
    order = np.argsort(gammas[finite])
    nodes, ms = gammas[finite][order], ms_eps[finite][order]
    of_data = np.maximum(nodes**2 * (1.0 - ms) / ms, 0.0)  # the variance of Gaussian data with this statistic
    gamma = schedule.gamma(steps)
    with np.errstate(divide="ignore", invalid="ignore"):
        data = np.interp(np.log(gamma), np.log(nodes), of_data)
        variances = np.where(gamma > 0.0, data / (1.0 + data / gamma**2), 0.0)
    return variances if most is None else np.minimum(variances, most)


def _bound_last(updates: list[Update], pixel_levels: float | None) -> None:
    """In place: the last step that draws."""
    if pixel_levels is None:
        return
    last = max((n for n, update in enumerate(updates) if update.noise), default=None)
    if last is not None:
        noise = min(updates[last].noise, pixel_levels * _PIXEL_LEVEL)
        updates[last] = updates[last]._replace(noise=noise)


def _statistics(
    schedule: Schedule, times: Sequence[float] | None, ms_eps: Sequence[float] | None
) -> tuple[Array, Array] | None:
    """The measured times and statistics, checked against the schedule."""
    if times is None and ms_eps is None:
        return None
    if times is None or ms_eps is None:
        raise ValueError("times, ms_eps: give both, what calibrate.analytic measured, or none")
    at, measured = reals(times, "times"), reals(ms_eps, "ms_eps")
    if at.ndim != 1 or at.shape != measured.shape or at.size == 0:
        raise ValueError(f"times has shape {at.shape}, ms_eps {measured.shape}; need one number for each time")
    if not (np.isfinite(measured).all() and measured.min() > 0.0):
        raise ValueError(f"ms_eps: from {measured.min()} to {measured.max()}; need positive finite numbers")
    gammas = schedule.gamma(at)
    if not (gammas > 0.0).all() or len(np.unique(at)) < len(at) or not np.isfinite(gammas).any():
        raise ValueError("times: need different ones, none at gamma = 0 and one at least where gamma is finite")
    return at, measured


def _bound(value: float | None, name: str) -> float | None:
    if value is None:
        return None
    bound = real(value, name)
    if not 0.0 < bound < math.inf:
        raise ValueError(f"{name}={bound}; give a positive finite number, or None for no bound")
    return bound


register(
    Solver(
        "analytic_ddpm", analytic, order=1, options={"eta": 1.0}, stochastic=True,
        summary="Analytic-DPM's DDPM; options times, ms_eps (measured), most, pixel_levels, noise_at_zero",
    ),
    Solver(
        "analytic_ddim", analytic, order=1, options={"eta": 0.0},
        summary="Analytic-DPM's DDIM, stochastic with measured ms_eps; options as analytic_ddpm",
    ),
)  # fmt: skip
