"""DDIM and, with eta = 1, DDPM's ancestral sampler on any grid."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import ArrayLike

from .._arguments import boolean
from ..numerics import transfer
from ..plan import Plan
from ..schedules import Schedule
from .building import Update, checked_grid, from_pure_noise, multistep
from .posterior import checked_eta, posterior_update
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
    eta, sigma_hat = checked_eta(eta, times), boolean(sigma_hat, "sigma_hat")
    if sigma_hat and eta != 1.0:
        raise ValueError(f"sigma_hat=True with eta={eta}; it is defined for eta=1")
    updates = (_update(schedule, t, t_next, eta, sigma_hat) for t, t_next in itertools.pairwise(times))
    return multistep(
        "ddim", schedule, times, updates,
        prediction=prediction, quantity="epsilon", options={"eta": eta, "sigma_hat": sigma_hat},
    )  # fmt: skip


def _update(schedule: Schedule, t: float, t_next: float, eta: float, sigma_hat: bool) -> Update:
    step = posterior_update(schedule, t, t_next, eta)
    if not (sigma_hat and step.noise):
        return step
    if from_pure_noise(schedule, t):
        return step._replace(noise=float(schedule.sigma(t)))
    _, deterministic = (float(v) for v in transfer(schedule, t, t_next))
    fallen = -deterministic / float(schedule.alpha(t_next))  # gamma - gamma'
    squares = fallen * (float(schedule.gamma(t)) + float(schedule.gamma(t_next)))
    return step._replace(noise=float(schedule.alpha(t)) * np.sqrt(squares))


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
