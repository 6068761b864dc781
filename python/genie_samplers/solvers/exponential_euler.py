"""First-order exponential integrators beside DDIM: what is frozen over the step decides how good they are."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import ArrayLike

from ..numerics import step_integral, transfer
from ..plan import Plan
from ..schedules import Schedule
from .building import Update, checked_grid, checked_noise_scale, first_order, multistep, refuse_pure_noise
from .registry import Solver, register

__all__ = ["ei_score", "ei_sde"]


def ei_score(schedule: Schedule, grid: ArrayLike, *, prediction: str = "epsilon") -> Plan:
    """Exponential integrator with the score frozen over the step, DEIS's first and worst ingredient.

        x' = (a'/a) x + (a'/sigma) int_{gamma}^{gamma'} alpha gamma dgamma eps
        variance preserving: the weight is (1 - a'/a)/sigma;  alpha = 1: (sigma'^2 - sigma^2)/(2 sigma)

    Order 1, one evaluation per step, no history, deterministic; not exact on a point mass. Zhang and Chen, arXiv
    2204.13902.
    """
    times = checked_grid(schedule, grid)
    if times[0] == schedule.t_zero:
        raise ValueError(f"times[0]={times[0]!s} is t_zero, where the score is infinite; start the grid after it")
    refuse_pure_noise(schedule, times, "ei_score", "ddim", end=True)

    def update(t: float, t_next: float) -> Update:
        ratio, _ = transfer(schedule, t, t_next)
        integral = step_integral(schedule, t, t_next, schedule.sigma)
        return Update(float(ratio), (float(schedule.alpha(t_next) / schedule.sigma(t) * integral),))

    updates = (update(t, t_next) for t, t_next in itertools.pairwise(times))
    return multistep("ei_score", schedule, times, updates, prediction=prediction, quantity="epsilon", options={})


def ei_sde(schedule: Schedule, grid: ArrayLike, *, noise_scale: float = 1.0, prediction: str = "epsilon") -> Plan:
    """Exponential integrator of the reverse SDE with noise scale s, the noise prediction frozen over the step.

        x' = (a'/a) x + (1 + s^2) a' (gamma' - gamma) eps + s a' sqrt(gamma^2 - gamma'^2) z

    Weak order 1, one evaluation per step, no history; exact on a point mass only for s = 0, which is DDIM (gddim is the
    one that is exact for every s). No noise in a step to gamma = 0. Zhang and Chen, arXiv 2204.13902.
    """
    times = checked_grid(schedule, grid)
    noise_scale = checked_noise_scale(noise_scale, times)
    if noise_scale:
        refuse_pure_noise(schedule, times, "ei_sde", "gddim")

    def update(t: float, t_next: float) -> Update:
        if noise_scale == 0.0:
            return first_order(schedule, t, t_next)
        ratio, ddim = (float(v) for v in transfer(schedule, t, t_next))
        alpha, gamma, gamma_next = (
            float(v) for v in (schedule.alpha(t_next), schedule.gamma(t), schedule.gamma(t_next))
        )
        noise = noise_scale * np.sqrt(alpha * -ddim * (gamma + gamma_next)) if noise_scale and gamma_next else 0.0
        return Update(ratio, ((1.0 + noise_scale**2) * ddim,), noise)

    updates = (update(t, t_next) for t, t_next in itertools.pairwise(times))
    return multistep(
        "ei_sde", schedule, times, updates,
        prediction=prediction, quantity="epsilon", options={"noise_scale": noise_scale},
    )  # fmt: skip


register(
    Solver(
        "ei_score", ei_score, order=1, exact_on_point_mass=False,
        summary="exponential Euler, score frozen",
    ),
    Solver(
        "ei_sde", ei_sde, order=1, stochastic=True, exact_on_point_mass=False,
        summary="exponential Euler-Maruyama, epsilon frozen; option noise_scale",
    ),
)  # fmt: skip
