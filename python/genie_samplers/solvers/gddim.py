"""gDDIM: the stochastic family that is exact on a point mass."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import ArrayLike

from ..numerics import transfer
from ..plan import Plan
from ..schedules import Schedule
from .building import Update, checked_grid, checked_noise_scale, first_order, from_pure_noise, multistep
from .registry import Solver, register

__all__ = ["gddim"]


def gddim(schedule: Schedule, grid: ArrayLike, *, noise_scale: float = 1.0, prediction: str = "epsilon") -> Plan:
    """Generalised DDIM for the reverse SDE with noise scale s (the paper's lambda).

        x' = (a'/a) x + a' (gamma' (gamma'/gamma)^(s^2) - gamma) eps + sigma' sqrt(1 - (gamma'/gamma)^(2 s^2)) z

    Weak order 1, one evaluation per step, no history; exact on a point mass for every s. s = 0 is DDIM, s = 1 DDPM's
    posterior (ddim with eta = 1). Zhang, Tao and Chen, arXiv 2206.05564.
    """
    times = checked_grid(schedule, grid)
    noise_scale = checked_noise_scale(noise_scale, times)
    updates = (_update(schedule, t, t_next, noise_scale) for t, t_next in itertools.pairwise(times))
    return multistep(
        "gddim", schedule, times, updates,
        prediction=prediction, quantity="epsilon", options={"noise_scale": noise_scale},
    )  # fmt: skip


def _update(schedule: Schedule, t: float, t_next: float, noise_scale: float) -> Update:
    if from_pure_noise(schedule, t):  # (gamma'/gamma)^(s^2) is 0 for every s > 0
        step = first_order(schedule, t, t_next)
        return step._replace(ratio=0.0, noise=float(schedule.sigma(t_next))) if noise_scale else step
    ratio, ddim = (float(v) for v in transfer(schedule, t, t_next))
    alpha, gamma, gamma_next = float(schedule.alpha(t_next)), float(schedule.gamma(t)), float(schedule.gamma(t_next))
    if noise_scale == 0.0 or gamma_next == 0.0:
        return Update(ratio, (ddim,))
    fall = np.log1p(ddim / (alpha * gamma))  # log(gamma'/gamma)
    weight = alpha * gamma * np.expm1((1.0 + noise_scale**2) * fall)
    noise = alpha * gamma_next * np.sqrt(-np.expm1(2.0 * noise_scale**2 * fall))
    return Update(ratio, (weight,), noise)


register(
    Solver("gddim", gddim, order=1, stochastic=True, summary="generalised DDIM; option noise_scale"),
)
