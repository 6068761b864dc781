"""EDM's second-order sampler, deterministic or with churn, on any schedule."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from numpy.typing import ArrayLike

from .._arguments import integer, real
from ..numerics import transfer
from ..plan import Combination, Conversion, Past, Plan, Step
from ..registry import Solver, register
from ..schedules import Schedule
from ._rows import checked_grid, conversion, finish

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
        rate = min(self.rate, highest / gamma - 1.0) if gamma > 0.0 else 0.0
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
    """EDM's Heun sampler in gamma; a step to gamma = 0 is Euler.

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
    rows = _Rows(schedule, churn, prediction)
    for t, t_next in itertools.pairwise(times):
        rows.add_step(float(t), float(t_next), last=t_next == times[-1])
    options: dict[str, object] = {"s_churn": s_churn, "s_min": s_min, "s_noise": s_noise, "churn_steps": count}
    if math.isfinite(s_max):
        options["s_max"] = s_max  # JSON has no infinity
    return finish("edm_heun", schedule, times, rows.steps, prediction=prediction, quantity="epsilon", options=options)


class _Rows:
    """Rows of the plan so far. The churn before a step belongs to the row that ends the step before it."""

    def __init__(self, schedule: Schedule, churn: _Churn, prediction: str) -> None:
        self.schedule, self.churn, self.prediction = schedule, churn, prediction
        self.steps: list[Step] = []
        self.draws = 0

    def add_step(self, t: float, t_next: float, *, last: bool) -> None:
        t_hat, ratio, noise = self.churn.raised(self.schedule, t)
        if not self.steps and noise:
            self.steps.append(Step(t, Combination(x=ratio, draws=(noise,)), draws=self._draw(noise), calls=0))
        move, euler = transfer(self.schedule, t_hat, t_next)
        move, euler = float(move), float(euler)
        y = (self._conversion(t_hat),)
        if self.schedule.gamma(t_next) == 0.0:
            self.steps.append(Step(t_hat, Combination(x=move, y=(euler,)), converted=y))
            return
        base = Combination(x=1.0, y=(0.0,))
        self.steps.append(Step(t_hat, Combination(x=move, y=(euler,)), aux=base, converted=y))
        _, up, noise = (t_next, 1.0, 0.0) if last else self.churn.raised(self.schedule, t_next)
        corrected = Combination(
            aux=up * move, y=(up * euler / 2,), history=(up * euler / 2,), draws=(noise,) if noise else ()
        )
        self.steps.append(
            Step(
                t_next, corrected, converted=(self._conversion(t_next),),
                history=(Past(len(self.steps) - 1),), draws=self._draw(noise),
            )
        )  # fmt: skip

    def _conversion(self, t: float) -> Conversion:
        return conversion(self.schedule, t, prediction=self.prediction, quantity="epsilon")

    def _draw(self, noise: float) -> tuple[int, ...]:
        if not noise:
            return ()
        self.draws += 1
        return (self.draws - 1,)


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
        "edm_heun", edm_heun, order=2, evaluations_per_step=2, ends_at_zero=True,
        summary="EDM's Heun sampler; options s_churn, s_min, s_max, s_noise",
    ),
)  # fmt: skip
