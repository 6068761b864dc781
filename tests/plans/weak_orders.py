"""The law that a stochastic plan makes of Gaussian data, exactly: every state is a linear map of x_T and the draws."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np

import genie_samplers as gs
from genie_samplers import Plan, grids
from genie_samplers.schedules import Schedule
from genie_samplers.solvers import registry

from .oracle import Array, execute, roundings
from .problems import VP

__all__ = ["WEAK", "Law", "WeakCase", "reached_law", "weak_slopes", "weak_table"]

MEAN, SPREAD = 0.6, 0.5  # of the data
_GRID, _STEPS = "quadratic_t", (256, 512)


class Law(NamedTuple):
    mean: float
    variance: float


@dataclass(frozen=True)
class WeakCase:
    """noise: s^2 of the reverse SDE that the plan follows; None where it changes along the grid (churn)."""

    solver: str
    options: Mapping[str, object]
    noise: float | None

    @property
    def claim(self) -> int:
        """The registry's; of options that turn a deterministic solver stochastic, the same number."""
        return gs.SOLVERS[self.solver].order


OTHER_DATA = {"times": (0.5,), "ms_eps": (0.9,)}
WEAK: dict[str, WeakCase] = {
    "ddpm": WeakCase("ddpm", {}, 1.0),
    "ddpm sigma_hat": WeakCase("ddpm", {"sigma_hat": True}, 1.0),
    "ddim eta 0.5": WeakCase("ddim", {"eta": 0.5}, 0.25),
    "analytic_ddpm": WeakCase("analytic_ddpm", {}, 1.0),
    "analytic_ddpm of other data": WeakCase("analytic_ddpm", OTHER_DATA, 1.0),
    "analytic_ddim of other data": WeakCase("analytic_ddim", OTHER_DATA, 0.0),
    "gddim": WeakCase("gddim", {}, 1.0),
    "gddim noise_scale 0.5": WeakCase("gddim", {"noise_scale": 0.5}, 0.25),
    "ei_sde": WeakCase("ei_sde", {}, 1.0),
    "ei_sde noise_scale 0.5": WeakCase("ei_sde", {"noise_scale": 0.5}, 0.25),
    "euler_maruyama": WeakCase("euler_maruyama", {}, 1.0),
    "euler_maruyama noise_scale 0.5": WeakCase("euler_maruyama", {"noise_scale": 0.5}, 0.25),
    "dpmpp_2m_sde": WeakCase("dpmpp_2m_sde", {}, 1.0),
    "dpmpp_2m_sde eta 0.5": WeakCase("dpmpp_2m_sde", {"eta": 0.5}, 0.5),
    "edm_heun s_churn 2": WeakCase("edm_heun", {"s_churn": 2.0}, None),
}


def variance_at(schedule: Schedule, t: float, spread: float = SPREAD) -> float:
    return float(schedule.alpha(t) * spread) ** 2 + float(schedule.sigma(t)) ** 2


def reached_law(plan: Plan, schedule: Schedule, start: Law, t_start: float, mean: float, spread: float) -> Law:
    """The law of the last state of a plan of noise predictions on data N(mean, spread^2), from that of the first."""
    draws = sum(len(row.draws) for row in plan.layout)
    one, first, *later = np.eye(2 + draws)

    def network(row: int, x: Array) -> list[Array]:
        t = plan.times[row]
        return [
            float(schedule.sigma(t)) * (x - float(schedule.alpha(t)) * mean * one) / variance_at(schedule, t, spread)
        ]

    state = execute(plan, start.mean * one + np.sqrt(start.variance) * first, network, later)[-1]
    return Law(float(state[0]), float(np.dot(state[1:], state[1:])))


def exact_laws(case: WeakCase, schedule: Schedule, t: float, t_end: float) -> tuple[Law, Law]:
    """At both ends. The start's mean lies one deviation off the data's, so that the end remembers it.

    The mean m of v = x / alpha obeys d(m - mean)/d(gamma^2) = (1 + s^2)/2 (m - mean)/(gamma^2 + spread^2).
    """
    alpha, alpha_end = float(schedule.alpha(t)), float(schedule.alpha(t_end))
    off = 0.0 if case.noise is None else np.sqrt(variance_at(schedule, t)) / alpha
    fall = variance_at(schedule, t_end) / alpha_end**2 / (variance_at(schedule, t) / alpha**2)
    off_end = off * fall ** (0.5 + 0.5 * (case.noise or 0.0))
    return (
        Law(alpha * (MEAN + off), variance_at(schedule, t)),
        Law(alpha_end * (MEAN + off_end), variance_at(schedule, t_end)),
    )


@cache
def weak_slopes(name: str) -> Law:
    """log2 of the ratios of the errors of mean and variance at N and 2 N steps; NaN where they are roundings."""
    coarse, fine = (_errors(WEAK[name], n) for n in _STEPS)
    return Law(*(float(np.log2(a / b)) if b > 0.0 else np.nan for a, b in zip(coarse, fine, strict=True)))


def _errors(case: WeakCase, steps: int) -> Law:
    """Of the mean and of the variance; 0 where they are no more than roundings."""
    times = grids.GRIDS[_GRID](VP, steps)
    plan = registry.rebuild(case.solver, VP, times, {**gs.SOLVERS[case.solver].options, **case.options})
    start, end = exact_laws(case, VP, times[0], times[-1])
    reached = reached_law(plan, VP, start, times[0], MEAN, SPREAD)
    # v = x / alpha is of the order of the first gamma until the later rows take all but the last gamma of it away
    rounding = roundings(plan) * np.finfo(np.float64).eps * float(VP.alpha(times[-1]) * VP.gamma(times[0]))
    errors = np.abs(np.subtract(reached, end))
    return Law(*np.where(errors > rounding, errors, 0.0))


def weak_table() -> Iterator[str]:
    yield "\n## Weak orders\n"
    yield "A linear plan makes a Gaussian of a Gaussian: the errors of its mean and variance are known without a draw."
    yield f"Data N({MEAN}, {SPREAD}^2), `vp_linear`, {_GRID}, N = {_STEPS[0]}, a start one deviation off.\n"
    yield "| solver | claim | mean | variance |"
    yield "|---|---|---|---|"
    for name, case in WEAK.items():
        slopes = ["exact" if np.isnan(value) else f"{value:.2f}" for value in weak_slopes(name)]
        yield f"| {name} | {case.claim} | {slopes[0]} | {slopes[1]} |"
