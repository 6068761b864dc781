"""Singlestep samplers x' = A x + B epsilon + c z: the stochastic ones and their deterministic relatives.

DDIM and DDPM (arXiv 2010.02502, 2006.11239), gDDIM (2206.05564), plain and exponential integrators of the reverse SDE

    dx = (F x + (1 + lam^2)/2 G^2/sigma epsilon) dt + lam G dw,    lam the noise scale      (2011.13456, 2204.13902)

None of them adds noise in a step to gamma = 0.
"""

from __future__ import annotations

from itertools import pairwise

from mpmath import mp, mpf

from .integrals import legendre_nodes
from .run import Run, Vector
from .schedules import Real, TextbookSchedule

__all__ = ["ddim", "ddpm", "ei_score", "ei_sde", "euler_maruyama", "euler_ode", "gddim"]


def _noisy(run: Run, x: Vector, std: Real) -> Vector:
    return x + std * run.normal() if std else x


def ddim(run: Run, *, eta: float = 0.0, sigma_hat: bool = False) -> Vector:
    """Song's eq. 12 and 16. sigma_hat adds the noise of the forward step instead, and none in a step to gamma = 0."""
    s, x = run.schedule, run.x_T
    for t, t_next in run.steps:
        epsilon = run.epsilon(x, t)
        forward = mp.sqrt(s.sigma(t) ** 2 - (s.alpha(t) / s.alpha(t_next) * s.sigma(t_next)) ** 2) if eta else mpf(0)
        c = eta * s.sigma(t_next) / s.sigma(t) * forward
        x0 = (x - s.sigma(t) * epsilon) / s.alpha(t)
        x = s.alpha(t_next) * x0 + mp.sqrt(s.sigma(t_next) ** 2 - c**2) * epsilon
        x = _noisy(run, x, forward if sigma_hat and s.gamma(t_next) else c)
    return x


def ddpm(run: Run) -> Vector:
    """The posterior of the forward process, q(x' | x, x0)."""
    s, x = run.schedule, run.x_T
    for t, t_next in run.steps:
        forward = s.alpha(t) / s.alpha(t_next)
        variance = s.sigma(t) ** 2 - (forward * s.sigma(t_next)) ** 2
        of_x = forward * (s.sigma(t_next) / s.sigma(t)) ** 2
        of_x0 = s.alpha(t_next) * variance / s.sigma(t) ** 2
        mean = of_x * x + of_x0 * run.x0(x, t)
        x = _noisy(run, mean, mp.sqrt(variance) * s.sigma(t_next) / s.sigma(t))
    return x


def gddim(run: Run, *, noise_scale: float = 1.0) -> Vector:
    s, x, lam = run.schedule, run.x_T, mpf(noise_scale)
    for t, t_next in run.steps:
        fall = s.gamma(t_next) / s.gamma(t)
        b = s.alpha(t_next) * (s.gamma(t_next) * fall ** (lam**2) - s.gamma(t))
        std = s.sigma(t_next) * mp.sqrt(1 - fall ** (2 * lam**2))
        x = _noisy(run, s.alpha(t_next) / s.alpha(t) * x + b * run.epsilon(x, t), std)
    return x


def ei_sde(run: Run, *, noise_scale: float = 1.0) -> Vector:
    """epsilon is frozen over the step, everything else integrated."""
    s, x, lam = run.schedule, run.x_T, mpf(noise_scale)
    for t, t_next in run.steps:
        b = (1 + lam**2) * s.alpha(t_next) * (s.gamma(t_next) - s.gamma(t))
        noisy = lam and s.gamma(t_next)
        std = lam * s.alpha(t_next) * mp.sqrt(s.gamma(t) ** 2 - s.gamma(t_next) ** 2) if noisy else mpf(0)
        x = _noisy(run, s.alpha(t_next) / s.alpha(t) * x + b * run.epsilon(x, t), std)
    return x


def ei_score(run: Run) -> Vector:
    """The score -epsilon/sigma is frozen: x' = (a'/a) x + a'/(2 sigma) integral of a d(gamma^2) epsilon."""
    s, x = run.schedule, run.x_T
    for t, t_next in run.steps:
        b = s.alpha(t_next) / (2 * s.sigma(t)) * _score_integral(s, t, t_next)
        x = s.alpha(t_next) / s.alpha(t) * x + b * run.epsilon(x, t)
    return x


def _score_integral(s: TextbookSchedule, t: Real, t_next: Real) -> Real:
    """Of a d(gamma^2), over asinh gamma."""
    ends = pairwise(mp.linspace(mp.asinh(s.gamma(t)), mp.asinh(s.gamma(t_next)), 4))
    nodes = (node for panel in ends for node in legendre_nodes(*panel))
    return mp.fsum(weight * mp.sinh(2 * y) * s.alpha(s.time_of_gamma(mp.sinh(y))) for y, weight in nodes)


def euler_maruyama(run: Run, *, noise_scale: float = 1.0) -> Vector:
    s, x, lam = run.schedule, run.x_T, mpf(noise_scale)
    for t, t_next in run.steps:
        f, g_squared = s.drift(t), s.diffusion_squared(t)
        euler = (f * x + (1 + lam**2) / 2 * g_squared / s.sigma(t) * run.epsilon(x, t)) * (t_next - t)
        noisy = lam and s.gamma(t_next)
        x = _noisy(run, x + euler, lam * mp.sqrt(g_squared * (t - t_next)) if noisy else mpf(0))
    return x


def euler_ode(run: Run) -> Vector:
    return euler_maruyama(run, noise_scale=0.0)
