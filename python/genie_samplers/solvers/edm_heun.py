"""EDM's second-order sampler, deterministic or with churn, on any schedule."""

from __future__ import annotations

import math
from dataclasses import dataclass

from numpy.typing import ArrayLike

from .._arguments import integer, real
from ..numerics import transfer
from ..plan import Plan
from ..schedules import Schedule
from .building import PlanBuilder, Stage, at_an_end, checked_grid, first_order_stage
from .registry import Solver, per_step, register

__all__ = ["edm_heun"]


@dataclass(frozen=True)
class _Churn:
    """Noise added before a step: from gamma up to gamma_hat = gamma (1 + rate) where gamma lies in the window."""

    rate: float
    low: float
    high: float
    scale: float

    def raised(self, schedule: Schedule, t: float) -> tuple[float, float, float]:
        """(t_hat, a_hat / a, weight of z); (t, 1, 0) where there is no churn."""
        gamma = float(schedule.gamma(t))
        highest = float(schedule.gamma(schedule.t_max))
        rate = min(self.rate, highest / gamma - 1.0) if 0.0 < gamma < math.inf else 0.0
        if rate <= 0.0 or not self.low <= gamma <= self.high:
            return t, 1.0, 0.0
        t_hat = float(schedule.time_of_gamma(gamma * (1.0 + rate)))
        alpha_hat = float(schedule.alpha(t_hat))
        noise = self.scale * alpha_hat * gamma * math.sqrt(rate * (2.0 + rate))
        return t_hat, alpha_hat / float(schedule.alpha(t)), noise


def edm_heun(
    schedule: Schedule,
    grid: ArrayLike,
    *,
    s_churn: float = 0.0,
    s_min: float = 0.0,
    s_max: float = math.inf,
    s_noise: float = 1.0,
    churn_steps: int | None = None,
    prediction: str = "epsilon",
) -> Plan:
    """EDM's Heun sampler in gamma; a step to gamma = 0, or from gamma = inf, is Euler.

        v = x / a:   v_1 = v + (gamma' - gamma^) eps(v),   v' = v + (gamma' - gamma^)/2 (eps(v) + eps(v_1))
        before each step, where s_min <= gamma <= s_max:
        gamma^ = gamma (1 + min(s_churn / N, sqrt(2) - 1)),   v += s_noise sqrt(gamma^^2 - gamma^2) z

    Order 2, two evaluations per step (one in the step to 0), stochastic with s_churn > 0. N is ``churn_steps``, by
    default the number of steps; the recipe holds it, so that a plan that starts later churns as much per step. gamma is
    EDM's sigma, s_min and s_max its S_tmin and S_tmax. Karras et al., arXiv 2206.00364, algorithm 2. Differs from the
    authors' code: gamma^ never exceeds the schedule's largest gamma. Without churn and zero end equal to deis_rho_heun.
    """
    times = checked_grid(schedule, grid)
    s_churn, s_min, s_max, s_noise = _checked_churn(s_churn, s_min, s_max, s_noise, rising=bool(times[1] > times[0]))
    count = len(times) - 1 if churn_steps is None else integer(churn_steps, "churn_steps", least=1)
    churn = _Churn(min(s_churn / count, math.sqrt(2.0) - 1.0), s_min, s_max, s_noise)
    builder = PlanBuilder(schedule, prediction=prediction, quantity="epsilon")
    hat, up, noise = churn.raised(schedule, float(times[0]))
    if noise:
        builder.add_noise(times[0], x=up, noise=noise)
    for t_next in times[1:].tolist():
        stages = _stages(schedule, hat, t_next)
        hat, up, noise = churn.raised(schedule, t_next) if t_next != times[-1] else (t_next, 1.0, 0.0)
        builder.add_stages(stages, up=up, noise=noise)  # the churn of the next step ends this one
    options: dict[str, object] = {"s_churn": s_churn, "s_min": s_min, "s_noise": s_noise, "churn_steps": count}
    if math.isfinite(s_max):
        options["s_max"] = s_max  # JSON has no infinity
    return builder.plan("edm_heun", times, options)


def _stages(schedule: Schedule, t: float, t_next: float) -> list[Stage]:
    if at_an_end(schedule, t, t_next):
        return [first_order_stage(schedule, t, t_next)]
    ratio, weight = (float(v) for v in transfer(schedule, t, t_next))
    return [Stage(t, ratio, (weight,)), Stage(t_next, ratio, (weight / 2, weight / 2))]


def _checked_churn(
    s_churn: float, s_min: float, s_max: float, s_noise: float, *, rising: bool
) -> tuple[float, float, float, float]:
    s_churn, s_min = real(s_churn, "s_churn"), real(s_min, "s_min")
    s_max, s_noise = real(s_max, "s_max"), real(s_noise, "s_noise")
    if not 0.0 <= s_churn < math.inf or not 0.0 < s_noise < math.inf:
        raise ValueError(f"s_churn={s_churn}, s_noise={s_noise}; need s_churn >= 0 and s_noise > 0, both finite")
    if not 0.0 <= s_min <= s_max:
        raise ValueError(f"s_min={s_min}, s_max={s_max}; need 0 <= s_min <= s_max")
    if s_churn > 0.0 and rising:
        raise ValueError(f"s_churn={s_churn} on a rising grid; encoding is deterministic, so use s_churn=0")
    return s_churn, s_min, s_max, s_noise


register(
    Solver(
        "edm_heun", edm_heun, order=2, budget=per_step(2), denoise=True,
        summary="EDM's Heun sampler; options s_churn, s_min, s_max, s_noise",
    ),
)  # fmt: skip
