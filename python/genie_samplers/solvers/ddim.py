"""DDIM and, with eta = 1, DDPM's ancestral sampler on any grid."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import ArrayLike

from .._arguments import boolean, real
from ..numerics import transfer
from ..plan import Plan
from ..schedules import Schedule
from .building import Update, checked_grid, first_order, from_pure_noise, multistep
from .registry import Solver, register

__all__ = ["ddim"]


def ddim(
    schedule: Schedule, grid: ArrayLike, *, eta: float = 0.0, sigma_hat: bool = False, prediction: str = "epsilon"
) -> Plan:
    """Denoising diffusion implicit models.

        x' = (a'/a) x + (sqrt(sigma'^2 - c^2) - (a'/a) sigma) eps + c z
        c  = eta sigma' sqrt(1 - (gamma'/gamma)^2)

    Order 1, one evaluation per step, no history; eta = 0 is deterministic, eta = 1 is DDPM's posterior. Exact on a
    point mass for every eta. ``sigma_hat``, which needs eta = 1, draws the larger noise sqrt(1 - alpha-bar/alpha-bar')
    = a sqrt(gamma^2 - gamma'^2) around the same mean ("fixed large" in DDPM; none in a step to gamma = 0), which is too
    much for the marginals unless the steps are short. Song, Meng and Ermon, arXiv 2010.02502, eq. 12 and 16 and
    section 5. eta = 0 equals deis_tab0.
    """
    times = checked_grid(schedule, grid)
    eta, sigma_hat = real(eta, "eta"), boolean(sigma_hat, "sigma_hat")
    if not 0.0 <= eta < np.inf:
        raise ValueError(f"eta={eta}; need a finite number >= 0")
    if eta > 0.0 and times[1] > times[0]:
        raise ValueError(f"eta={eta} on a rising grid; encoding is deterministic, so use eta=0")
    if sigma_hat and eta != 1.0:
        raise ValueError(f"sigma_hat=True with eta={eta}; it is defined for eta=1")
    updates = (_update(schedule, t, t_next, eta, sigma_hat) for t, t_next in itertools.pairwise(times))
    return multistep(
        "ddim", schedule, times, updates,
        prediction=prediction, quantity="epsilon", options={"eta": eta, "sigma_hat": sigma_hat},
    )  # fmt: skip


def _update(schedule: Schedule, t: float, t_next: float, eta: float, sigma_hat: bool) -> Update:
    """Differences of squares are factored, so nothing cancels in short steps."""
    if from_pure_noise(schedule, t):
        return _from_pure_noise(schedule, t, t_next, eta, sigma_hat)
    ratio, deterministic = (float(v) for v in transfer(schedule, t, t_next))
    if eta == 0.0:
        return Update(ratio, (deterministic,))
    alpha_next = float(schedule.alpha(t_next))
    gamma, gamma_next = float(schedule.gamma(t)), float(schedule.gamma(t_next))
    fallen = -deterministic / alpha_next  # gamma - gamma'
    squares = fallen * (gamma + gamma_next)
    noise_squared = (eta * gamma_next / gamma) ** 2 * squares  # (c / a')^2
    kept = gamma_next**2 - noise_squared
    if kept < 0.0:
        raise ValueError(f"eta={eta} asks for more noise than the marginal at t={t_next} holds; use eta <= 1")
    change = -(squares + noise_squared) / (np.sqrt(kept) + gamma)
    noise = alpha_next * np.sqrt(noise_squared)
    if sigma_hat and gamma_next > 0.0:
        noise = float(schedule.alpha(t)) * np.sqrt(squares)
    return Update(ratio, (alpha_next * change,), noise)


def _from_pure_noise(schedule: Schedule, t: float, t_next: float, eta: float, sigma_hat: bool) -> Update:
    """The limit gamma = inf: x' = a' x_0 + sigma' sqrt(1 - eta^2) eps + c z with c = eta sigma', eps = x / sigma."""
    step = first_order(schedule, t, t_next)
    if eta > 1.0:
        raise ValueError(f"eta={eta} asks for more noise than the marginal at t={t_next} holds; use eta <= 1")
    noise = eta * float(schedule.sigma(t_next))
    if sigma_hat and noise:
        noise = float(schedule.sigma(t))
    return step._replace(ratio=step.ratio * float(np.sqrt(1.0 - eta**2)), noise=noise)


register(
    Solver(
        "ddim", ddim, order=1,
        summary="denoising diffusion implicit model; options eta, sigma_hat",
    ),
    Solver(
        "ddpm", ddim, order=1, options={"eta": 1.0}, stochastic=True,
        summary="DDPM's posterior on any grid; option sigma_hat",
    ),
)  # fmt: skip
