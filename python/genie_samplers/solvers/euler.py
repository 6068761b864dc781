"""Euler steps of the reverse SDE family and of its ODE in (x, t): the baselines without an exponential integrator."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import ArrayLike

from ..plan import Plan
from ..schedules import Schedule
from .building import Update, checked_grid, checked_noise_scale, multistep, refuse_pure_noise
from .registry import Solver, register

__all__ = ["euler_maruyama"]


def euler_maruyama(
    schedule: Schedule, grid: ArrayLike, *, noise_scale: float = 1.0, prediction: str = "epsilon"
) -> Plan:
    """Euler-Maruyama on the reverse SDE with noise scale s; s = 0 is Euler on the probability-flow ODE.

        x' = (1 + F D) x + (1 + s^2)/2 (G^2/sigma) D eps + s G sqrt(-D) z          D = t' - t < 0
        F = d log alpha/dt,  G^2 = alpha^2 d(gamma^2)/dt, both at t; no noise in a step to gamma = 0

    Weak order 1 (s = 0: order 1), one evaluation per step, no history; not exact on a point mass. Song et al., arXiv
    2011.13456.
    """
    times = checked_grid(schedule, grid)
    noise_scale = checked_noise_scale(noise_scale, times)
    if times[0] == schedule.t_zero:
        raise ValueError(f"times[0]={times[0]!s} is t_zero, where G^2/sigma is infinite; start the grid after it")
    refuse_pure_noise(schedule, times, "Euler's method in t", "ddim, which is Euler's method in t on a flow schedule")
    updates = (_update(schedule, t, t_next, noise_scale) for t, t_next in itertools.pairwise(times))
    return multistep(
        "euler_maruyama", schedule, times, updates,
        prediction=prediction, quantity="epsilon", options={"noise_scale": noise_scale},
    )  # fmt: skip


def _update(schedule: Schedule, t: float, t_next: float, noise_scale: float) -> Update:
    change = t_next - t
    ratio = 1.0 + float(schedule.drift(t)) * change
    diffusion = float(schedule.diffusion_squared(t))
    weight = 0.5 * (1.0 + noise_scale**2) * diffusion / float(schedule.sigma(t)) * change
    noise = 0.0 if t_next == schedule.t_zero else noise_scale * np.sqrt(diffusion * abs(change))
    return Update(ratio, (weight,), noise)


register(
    Solver(
        "euler_maruyama", euler_maruyama, order=1, stochastic=True, exact_on_point_mass=False,
        summary="Euler-Maruyama on the reverse SDE; option noise_scale",
    ),
    Solver(
        "euler_ode", euler_maruyama, order=1, options={"noise_scale": 0.0}, exact_on_point_mass=False,
        summary="Euler on the probability-flow ODE in (x, t)",
    ),
)  # fmt: skip
