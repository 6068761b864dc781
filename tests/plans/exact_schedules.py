"""Schedules in mpmath, written from their definitions: the oracle of float64 schedules and coefficients."""

from collections.abc import Callable
from typing import Any

from mpmath import acos, asinh, cos, exp, expm1, log, log1p, mp, mpf, sqrt

from genie_samplers import schedules

Exact = Any  # an mpmath number


def gamma_at(schedule: schedules.Schedule, t: Exact) -> Exact:
    """sigma / alpha."""
    if isinstance(schedule, schedules.EDM):
        return t
    if isinstance(schedule, schedules.VE):
        sigma_min, sigma_max = mpf(schedule.sigma_min), mpf(schedule.sigma_max)
        return sigma_min * ((sigma_max / sigma_min) ** t if t >= 0 else 1 - t / mpf(schedule.t_zero))
    if isinstance(schedule, schedules.Flow):
        return t / (1 - t)
    decay = decay_at(schedule, t)
    if isinstance(schedule, schedules.SubVP):
        return -expm1(-decay) * exp(decay / 2)
    return sqrt(expm1(decay))


def log_alpha_at(schedule: schedules.Schedule, t: Exact) -> Exact:
    if isinstance(schedule, schedules.Flow):
        return log1p(-t)
    if isinstance(schedule, schedules.EDM | schedules.VE):
        return mpf(0)
    return -decay_at(schedule, t) / 2


def alpha_at(schedule: schedules.Schedule, t: Exact) -> Exact:
    return exp(log_alpha_at(schedule, t))


def decay_at(schedule: schedules.Schedule, t: Exact) -> Exact:
    """B = -log alpha-bar, of the schedules that are defined by it."""
    if isinstance(schedule, schedules.VPLinear | schedules.SubVP):
        b0, b1 = mpf(schedule.beta_min), mpf(schedule.beta_max)
        return (b1 - b0) * t**2 / 2 + b0 * t
    if isinstance(schedule, schedules.VPCosine):
        return 2 * log(cos(cosine_angle(schedule, schedule.t_zero)) / cos(cosine_angle(schedule, t)))
    assert isinstance(schedule, schedules.AlphasCumprod)
    bar = (1.0, *schedule.alphas_cumprod)
    i = min(max(int(mp.floor(t)) + 1, 0), len(bar) - 2)
    f, low, high = t - (i - 1), mpf(bar[i]), mpf(bar[i + 1])
    if schedule.interpolation == "alpha_bar" or high == 0:
        return -log(low + f * (high - low))
    return -(log(low) + f * (log(high) - log(low)))


def cosine_angle(schedule: schedules.VPCosine, t: Exact) -> Exact:
    return (t + mpf(schedule.s)) / (1 + mpf(schedule.s)) * mp.pi / 2


def time_at(schedule: schedules.Schedule, gamma: Exact) -> Exact:
    """Inverse of gamma_at."""
    if isinstance(schedule, schedules.EDM):
        return gamma
    if isinstance(schedule, schedules.Flow):
        return gamma / (1 + gamma)
    if isinstance(schedule, schedules.VE):
        sigma_min, sigma_max = mpf(schedule.sigma_min), mpf(schedule.sigma_max)
        if gamma < sigma_min:
            return (1 - gamma / sigma_min) * mpf(schedule.t_zero)
        return log(gamma / sigma_min) / log(sigma_max / sigma_min)
    if isinstance(schedule, schedules.VPCosine):
        cosine = cos(cosine_angle(schedule, schedule.t_zero)) / sqrt(1 + gamma**2)
        return acos(cosine) * 2 / mp.pi * (1 + mpf(schedule.s)) - mpf(schedule.s)
    if isinstance(schedule, schedules.AlphasCumprod):
        return index_at(schedule, log1p(gamma**2))
    assert isinstance(schedule, schedules.VPLinear | schedules.SubVP)
    decay = 2 * asinh(gamma / 2) if isinstance(schedule, schedules.SubVP) else log1p(gamma**2)
    b0, slope = mpf(schedule.beta_min), mpf(schedule.beta_max) - mpf(schedule.beta_min)
    return decay / b0 if slope == 0 else (-b0 + sqrt(b0**2 + 2 * slope * decay)) / slope


def index_at(schedule: schedules.AlphasCumprod, decay: Exact) -> Exact:
    bar = (1.0, *schedule.alphas_cumprod)
    alpha_bar = exp(-decay)
    i = max(sum(alpha_bar <= entry for entry in bar[:-1]) - 1, 0)
    low, high = mpf(bar[i]), mpf(bar[i + 1])
    if schedule.interpolation == "alpha_bar" or high == 0:
        return i - 1 + (low - alpha_bar) / (low - high)
    return i - 1 + (decay + log(low)) / (log(low) - log(high))


def drift_at(schedule: schedules.Schedule, t: Exact) -> Exact:
    return rate(schedule, lambda time: log_alpha_at(schedule, time), t)


def diffusion_squared_at(schedule: schedules.Schedule, t: Exact) -> Exact:
    return alpha_at(schedule, t) ** 2 * rate(schedule, lambda time: gamma_at(schedule, time) ** 2, t)


def rate(schedule: schedules.Schedule, f: Callable[[Exact], Exact], t: Exact) -> Exact:
    """df/dt to 40 digits, at a knot that of the piece below, at t_zero that of the piece above."""
    with mp.workdps(mp.dps + 60):
        since_zero = t - schedule.t_zero
        step = since_zero * mpf(10) ** -45 or -(mpf(10) ** -45)
        return (f(t) - f(t - step)) / step
