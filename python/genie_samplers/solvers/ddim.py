"""DDIM and, with eta = 1, DDPM's ancestral sampler on any grid."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import ArrayLike

from .._arguments import real
from ..numerics import transfer
from ..plan import Combination, Plan, Step
from ..registry import Solver, register
from ..schedules import Schedule
from ._rows import checked_grid, conversion, finish

__all__ = ["ddim"]


def ddim(schedule: Schedule, grid: ArrayLike, *, eta: float = 0.0, prediction: str = "epsilon") -> Plan:
    """Denoising diffusion implicit models.

        x' = (a'/a) x + (sqrt(sigma'^2 - c^2) - (a'/a) sigma) eps + c z
        c  = eta sigma' sqrt(1 - (gamma'/gamma)^2)

    Order 1, one evaluation per step, no history; eta = 0 is deterministic, eta = 1 is DDPM's posterior. Exact on a
    point mass for every eta. Song, Meng and Ermon, arXiv 2010.02502, eq. 12 and 16. eta = 0 equals deis_tab0.
    """
    times = checked_grid(schedule, grid)
    eta = real(eta, "eta")
    if not 0.0 <= eta < np.inf:
        raise ValueError(f"eta={eta}; need a finite number >= 0")
    if eta > 0.0 and times[1] > times[0]:
        raise ValueError(f"eta={eta} on a rising grid; encoding is deterministic, so use eta=0")
    steps: list[Step] = []
    draws = 0
    for t, t_next in itertools.pairwise(times):
        ratio, weight, noise = _coefficients(schedule, t, t_next, eta)
        drawn = noise != 0.0
        x = Combination(x=ratio, y=(weight,), draws=(noise,) if drawn else ())
        y = conversion(schedule, t, prediction=prediction, quantity="epsilon")
        steps.append(Step(float(t), x, converted=(y,), draws=(draws,) if drawn else ()))
        draws += drawn
    return finish("ddim", schedule, times, steps, prediction=prediction, quantity="epsilon", options={"eta": eta})


def _coefficients(schedule: Schedule, t: float, t_next: float, eta: float) -> tuple[float, float, float]:
    """(a'/a, weight of eps, weight of z); differences of squares are factored, so nothing cancels in short steps."""
    ratio, deterministic = transfer(schedule, t, t_next)
    if eta == 0.0:
        return float(ratio), float(deterministic), 0.0
    alpha_next = float(schedule.alpha(t_next))
    gamma, gamma_next = float(schedule.gamma(t)), float(schedule.gamma(t_next))
    fallen = -deterministic / alpha_next  # gamma - gamma'
    squares = fallen * (gamma + gamma_next)
    noise_squared = (eta * gamma_next / gamma) ** 2 * squares  # (c / a')^2
    kept = gamma_next**2 - noise_squared
    if kept < 0.0:
        raise ValueError(f"eta={eta} asks for more noise than the marginal at t={t_next} holds; use eta <= 1")
    change = -(squares + noise_squared) / (np.sqrt(kept) + gamma)
    return float(ratio), float(alpha_next * change), float(alpha_next * np.sqrt(noise_squared))


register(
    Solver("ddim", ddim, order=1, summary="denoising diffusion implicit model; option eta"),
)
