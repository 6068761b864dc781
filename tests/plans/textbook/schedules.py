"""A schedule in the working precision of mpmath, every value kept for the next solver that asks."""

from __future__ import annotations

from functools import cache

from mpmath import mp, mpf

from genie_samplers.schedules import Schedule

from .. import exact_schedules as exact
from ..exact_schedules import Exact as Real

__all__ = ["Real", "TextbookSchedule", "textbook_schedule"]


class TextbookSchedule:
    def __init__(self, schedule: Schedule) -> None:
        self.t_zero, self.knots = mpf(schedule.t_zero), [mpf(k) for k in schedule.knots]
        self.alpha = cache(lambda t: exact.alpha_at(schedule, t))
        self.gamma = cache(lambda t: exact.gamma_at(schedule, t))
        self.drift = cache(lambda t: exact.drift_at(schedule, t))
        self.diffusion_squared = cache(lambda t: exact.diffusion_squared_at(schedule, t))
        self.time_of_gamma = cache(lambda gamma: exact.time_at(schedule, gamma))

    def sigma(self, t: Real) -> Real:
        return self.alpha(t) * self.gamma(t)

    def lam(self, t: Real) -> Real:
        """Half the log-SNR."""
        return -mp.log(self.gamma(t))

    def time_of_lam(self, lam: Real) -> Real:
        return self.time_of_gamma(mp.exp(-lam))


textbook_schedule = cache(TextbookSchedule)
