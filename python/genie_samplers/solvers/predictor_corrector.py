"""Predictor-corrector samplers of score-based models: a step of the reverse SDE after Langevin steps at its start."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from numpy.typing import ArrayLike

from .._arguments import boolean, choice, integer, real
from ..plan import Init, Plan
from ..schedules import Schedule
from .langevin import Filtering, LangevinBuilder, checked_falling_grid
from .registry import Budget, Solver, register

__all__ = ["predictor_corrector"]

PREDICTORS, CORRECTORS = ("reverse_diffusion", "euler_maruyama", "ancestral"), ("langevin", "ald", "none")
_SAME = 1e-9  # of alpha^2 + sigma^2 and 1


class _Step(NamedTuple):
    """x' = a x + b score + c z."""

    a: float
    b: float
    c: float


def predictor_corrector(
    schedule: Schedule,
    grid: ArrayLike,
    *,
    predictor: str = "reverse_diffusion",
    corrector: str = "langevin",
    n_steps: int = 1,
    snr: float = 0.16,
    norm: str = "per_sample",
    probability_flow: bool = False,
    filter: str | None = None,
    scope: str = "both",
    snr_norm: str = "filtered",
    filter_init: bool | None = None,
    prediction: str = "epsilon",
) -> Plan:
    """In each step n corrections at t, then a prediction from t to t'; each evaluates the network once.

        langevin     x += e s + sqrt(2 e) z,   e = 2 k (snr |z| / |s|)^2        ald   e = 2 k (snr sigma)^2
        reverse_diffusion, VE    x' = x + b s + sqrt(b) z,                       b = sigma^2 - sigma'^2, k = 1
                           VP    x' = (2 - sqrt(1 - b)) x + b s + sqrt(b) z,     b = 1 - (alpha / alpha')^2, k = 1 - b
        ancestral    as the posterior of VE, and DDPM's with the large variance on VP
        euler_maruyama           x' = (1 - F D) x + G^2 D s + G sqrt(D) z,       D = t - t'; any schedule

    No noise in a prediction to gamma = 0: what it gives is the published x_mean. probability_flow: b / 2, no noise.
    norm "batch": |z| and |s| are means over the batch, as published; samples then depend on each other.
    filter: None, "tdas" (the noise through M) or "pds" (M M^T before the drift, too), M and M^T being the operators
    "filter" and "filter_adjoint" of the run; scope "corrector": in the corrections alone; snr_norm "raw": e by |z| and
    |s| before M; filter_init: the first state, too, by default with scope "both". n_steps + 1 evaluations per step (1
    with corrector "none"), weak order 1 of the predictions. Song et al., arXiv 2011.13456, algorithms 2-5, in the order
    of their code. Differs from it: norms per sample unless told otherwise; b of VP by alpha, not beta / N.
    """  # fmt: skip
    times = checked_falling_grid(schedule, grid, "predictor_corrector")
    choice(predictor, "predictor", PREDICTORS)
    choice(corrector, "corrector", CORRECTORS)
    n_steps, flow = integer(n_steps, "n_steps", least=1), boolean(probability_flow, "probability_flow")
    snr = _checked_snr(snr)
    coupled = choice(norm, "norm", ("per_sample", "batch")) == "batch"
    filtering = Filtering.of(filter, scope, filter_init, snr_norm)
    builder = LangevinBuilder(schedule, prediction=prediction, filtering=filtering)
    for t, t_next in itertools.pairwise(times.tolist()):
        k = (float(schedule.alpha(t)) / float(schedule.alpha(t_next))) ** 2
        for _ in range(0 if corrector == "none" else n_steps):
            _correct(builder, t, corrector, k, snr, coupled=coupled)
        _predict(builder, t, t_next, predictor, flow=flow)
    options: dict[str, object] = {
        "predictor": predictor, "corrector": corrector, "n_steps": n_steps, "snr": snr, "norm": norm,
        "probability_flow": flow, "filter": filter, "scope": scope, "snr_norm": snr_norm,
        "filter_init": filtering.initial,
    }  # fmt: skip
    plan = builder.plan("predictor_corrector", times, options)
    return replace(plan, init=Init(plan.init.scale, operator=filtering.operator))


def _correct(builder: LangevinBuilder, t: float, corrector: str, k: float, snr: float, *, coupled: bool) -> None:
    sigma = float(builder.schedule.sigma(t))
    if corrector == "langevin":
        name = "langevin_snr_coupled" if coupled else "langevin_snr"
        builder.corrector(t, reduction=name, parameters=(k, snr, sigma), coupled=coupled)
        return
    step = 2.0 * k * (snr * sigma) ** 2
    builder.step(t, a=1.0, epsilon=-step / sigma, noise=math.sqrt(2.0 * step), filtered=True)


def _predict(builder: LangevinBuilder, t: float, t_next: float, predictor: str, *, flow: bool) -> None:
    schedule = builder.schedule
    step = _step(schedule, t, t_next, predictor, flow=flow)
    if flow:
        step = step._replace(b=0.5 * step.b, c=0.0)
    noise = 0.0 if t_next == schedule.t_zero else step.c
    epsilon = -step.b / float(schedule.sigma(t))
    builder.step(t, a=step.a, epsilon=epsilon, noise=noise, filtered=builder.filtering.predictor)


def _step(schedule: Schedule, t: float, t_next: float, predictor: str, *, flow: bool) -> _Step:
    if flow and predictor == "ancestral":
        raise ValueError("predictor='ancestral' has no probability flow; take reverse_diffusion or euler_maruyama")
    (alpha, alpha_next), (sigma, sigma_next) = (
        (float(of(t)), float(of(t_next))) for of in (schedule.alpha, schedule.sigma)
    )
    if predictor != "euler_maruyama" and alpha == alpha_next:
        variance = sigma**2 - sigma_next**2
        c = math.sqrt(variance) * (sigma_next / sigma if predictor == "ancestral" else 1.0)
        return _Step(1.0, variance, c)
    if predictor != "euler_maruyama" and abs(alpha**2 + sigma**2 - 1.0) < _SAME:
        ratio = alpha / alpha_next  # sqrt(1 - b)
        b = 1.0 - ratio**2
        if predictor == "ancestral":
            return _Step(1.0 / ratio, b / ratio, math.sqrt(b))
        return _Step(2.0 - ratio, b, math.sqrt(b))
    if predictor == "ancestral":
        raise ValueError(
            f"predictor='ancestral' on {schedule.name}: known for VE (alpha constant) and VP (alpha^2 + sigma^2 = 1); "
            "take euler_maruyama"
        )
    change = t - t_next
    diffusion = float(schedule.diffusion_squared(t))
    return _Step(1.0 - float(schedule.drift(t)) * change, diffusion * change, math.sqrt(diffusion * change))


def _checked_snr(snr: float) -> float:
    snr = real(snr, "snr")
    if not 0.0 < snr < math.inf:
        raise ValueError(f"snr={snr}; need a positive finite number, as 0.16")
    return snr


def _budget(nfe: int, options: Mapping[str, object]) -> Budget:
    n_steps = integer(options.get("n_steps", 1), "n_steps", least=1)
    return Budget(nfe // (1 if options.get("corrector") == "none" else n_steps + 1))


register(
    Solver(
        "predictor_corrector", predictor_corrector, order=1, stochastic=True, exact_on_point_mass=False, denoise=True,
        langevin=True, budget_with=_budget,
        summary="reverse-SDE steps after Langevin steps; options predictor, corrector, n_steps, snr, filter",
    ),
)  # fmt: skip
