"""DDIM's family of steps, x' = (a'/a) x + weight eps + noise z: the share of noise that is drawn anew is free."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .._arguments import real
from ..numerics import transfer
from ..schedules import Schedule
from .building import Update, first_order, from_pure_noise

__all__ = ["checked_eta", "posterior_update"]

Array = NDArray[np.float64]


def checked_eta(eta: float, times: Array) -> float:
    """A finite number >= 0, 0 on a rising grid; ValueError otherwise."""
    eta = real(eta, "eta")
    if not 0.0 <= eta < np.inf:
        raise ValueError(f"eta={eta}; need a finite number >= 0")
    if eta > 0.0 and times[1] > times[0]:
        raise ValueError(f"eta={eta} on a rising grid; encoding is deterministic, so use eta=0")
    return eta


def posterior_update(schedule: Schedule, t: float, t_next: float, eta: float) -> Update:
    """The step with c = eta sigma' sqrt(1 - (gamma'/gamma)^2) of fresh noise (Song et al., arXiv 2010.02502, eq. 16).

    Differences of squares are factored, so nothing cancels in short steps.
    """
    if from_pure_noise(schedule, t):
        return _from_pure_noise(schedule, t, t_next, eta)
    ratio, deterministic = (float(v) for v in transfer(schedule, t, t_next))
    if eta == 0.0:
        return Update(ratio, (deterministic,))
    alpha_next = float(schedule.alpha(t_next))
    gamma, gamma_next = float(schedule.gamma(t)), float(schedule.gamma(t_next))
    squares = -deterministic / alpha_next * (gamma + gamma_next)  # gamma^2 - gamma'^2
    noise_squared = (eta * gamma_next / gamma) ** 2 * squares  # (c / a')^2
    kept = gamma_next**2 - noise_squared
    if kept < 0.0:
        raise _too_much(eta, t_next)
    change = -(squares + noise_squared) / (np.sqrt(kept) + gamma)
    return Update(ratio, (alpha_next * change,), alpha_next * np.sqrt(noise_squared))


def _from_pure_noise(schedule: Schedule, t: float, t_next: float, eta: float) -> Update:
    """The limit gamma = inf: x' = a' x_0 + sigma' sqrt(1 - eta^2) eps + c z with c = eta sigma', eps = x / sigma."""
    if eta > 1.0:
        raise _too_much(eta, t_next)
    step = first_order(schedule, t, t_next)
    noise = eta * float(schedule.sigma(t_next))
    return step._replace(ratio=step.ratio * float(np.sqrt(1.0 - eta**2)), noise=noise)


def _too_much(eta: float, t_next: float) -> ValueError:
    return ValueError(f"eta={eta} asks for more noise than the marginal at t={t_next} holds; use eta <= 1")
