"""Annealed Langevin dynamics of noise-conditional score networks (NCSN, NCSNv2)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from .._arguments import choice, integer, real
from ..plan import Init, Plan
from ..schedules import Schedule
from .langevin import Filtering, LangevinBuilder, checked_falling_grid
from .registry import Budget, Solver, register

__all__ = ["annealed_langevin", "level_transfer", "step_ratio"]

_T = 5


def annealed_langevin(
    schedule: Schedule,
    grid: ArrayLike,
    *,
    steps: int = _T,
    step_size: float | None = None,
    init: str = "uniform",
    filter: str | None = None,
    filter_init: bool | None = None,
    prediction: str = "epsilon",
) -> Plan:
    """At each noise level sigma_i of the grid, T = ``steps`` Langevin steps; alpha = 1 (VE, EDM).

        x += e_i s + sqrt(2 e_i) z,    e_i = step_size (sigma_i / sigma_L)^2
        at the end of a grid that goes on to gamma = 0:    x + sigma_L^2 s   (NCSNv2; NCSN ends at sigma_L)

    Starts from ``init``: "uniform" on [0, 1) as published, or "normal" of variance sigma_1^2. step_size: by default
    sigma_L^2 times :func:`step_ratio`, the published technique. filter, filter_init: as of predictor_corrector.
    T evaluations per level, one more at the end; no order of convergence. Song and Ermon, arXiv 1907.05600, algorithm 1
    as in their code (steps e and sqrt(2 e), twice the text's), and arXiv 2006.09011.
    """
    times = checked_falling_grid(schedule, grid, "annealed_langevin")
    if np.any(schedule.alpha(times) != 1.0):
        raise ValueError(
            f"annealed_langevin on {schedule.name}: its levels have alpha = 1; take ve or edm, or predictor_corrector"
        )
    denoise = bool(times[-1] == schedule.t_zero)
    levels = times[:-1] if denoise else times
    sigmas = schedule.sigma(levels).tolist()
    steps, uniform = integer(steps, "steps", least=1), choice(init, "init", ("uniform", "normal")) == "uniform"
    size = _default_size(sigmas, steps) if step_size is None else _checked_size(step_size, sigmas[-1])
    filtering = Filtering.of(filter, "both", filter_init, "filtered")
    builder = LangevinBuilder(schedule, prediction=prediction, filtering=filtering)
    for time, sigma in zip(levels.tolist(), sigmas, strict=True):
        step = size * (sigma / sigmas[-1]) ** 2
        for _ in range(steps):
            builder.step(time, a=1.0, epsilon=-step / sigma, noise=math.sqrt(2.0 * step), filtered=True)
    if denoise:
        builder.add(levels[-1], {builder.next: -sigmas[-1]}, x=1.0)
    options: dict[str, object] = {
        "steps": steps, "step_size": size, "init": init, "filter": filter, "filter_init": filtering.initial,
    }  # fmt: skip
    plan = builder.plan("annealed_langevin", times, options)
    start = Init(1.0, "uniform", filtering.operator) if uniform else Init(plan.init.scale, operator=filtering.operator)
    return replace(plan, init=start)


def level_transfer(step_ratio: float, ratio: float, steps: int) -> float:
    """The variance over sigma_{i+1}^2 after T steps at that level, of data of one point that had sigma_i^2 before.

    (1 - h)^(2 T) (g^2 - k) + k,  k = 1 / (1 - h / 2); step_ratio: h = step_size / sigma_L^2, ratio: g = sigma_i /
    sigma_{i+1}. Song and Ermon, arXiv 2006.09011, proposition 3.
    """
    k = 1.0 / (1.0 - step_ratio / 2.0)
    return (1.0 - step_ratio) ** (2 * steps) * (ratio**2 - k) + k


def step_ratio(ratio: float, steps: int) -> float:
    """The h in (0, 1) whose :func:`level_transfer` is least, that is next to 1; by the published technique 4."""
    low, high = 0.0, 1.0  # it falls, then rises
    for _ in range(100):
        left, right = low + (high - low) / 3.0, high - (high - low) / 3.0
        if level_transfer(left, ratio, steps) < level_transfer(right, ratio, steps):
            high = right
        else:
            low = left
    return 0.5 * (low + high)


def _default_size(sigmas: list[float], steps: int) -> float:
    """Of the mean ratio of the levels; of a single level that of snr 0.16."""
    count = len(sigmas) - 1
    h = step_ratio((sigmas[0] / sigmas[-1]) ** (1.0 / count), steps) if count else 2.0 * 0.16**2
    return sigmas[-1] ** 2 * h


def _checked_size(step_size: float, last: float) -> float:
    size = real(step_size, "step_size")
    if not 0.0 < size < 2.0 * last**2:
        raise ValueError(
            f"step_size={size}: need more than 0 and less than {2.0 * last**2:.6g}, twice the last sigma squared, "
            "beyond which Langevin steps on noise run away"
        )
    return size


def _budget(nfe: int, options: Mapping[str, object]) -> Budget:
    return Budget(nfe // integer(options.get("steps", _T), "steps", least=1) - 1)


register(
    Solver(
        "annealed_langevin", annealed_langevin, order=0, stochastic=True, exact_on_point_mass=False, denoise=True,
        langevin=True, budget_with=_budget, summary="Langevin steps of NCSN, NCSNv2; options steps, step_size, init",
    ),
)  # fmt: skip
