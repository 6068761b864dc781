"""The schedulers of diffusers on the same network and latents, through their public interface alone.

Their tables have 1000 entries: index k is our time (k + 1) / 1000 (``betas``), so 999 is t_max, 0 is t_end of
vp_linear and a last sigma of 0 is t_zero. A scheduler starts from our latents times its ``init_noise_sigma``, hands
out its timesteps, and the network is labelled with the time of each. It is compared with the fine solution at the end
it reaches by itself.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import diffusers
import numpy as np
import torch
from numpy.typing import NDArray

from genie_samplers.schedules import Schedule

from .problem import Problem, classes

__all__ = ["ENTRIES", "SCHEDULERS", "DiffusersRun", "betas", "runs"]

ENTRIES = 1000
_END_TOLERANCE = 1e-3  # relative, in gamma: float32 tables, and rounding to an index is far coarser


@dataclass(frozen=True)
class _Scheduler:
    """A class of diffusers and the variants of its options that start at t_max, by the name of their grid.

    calls: of the network for a number of inference steps. least: the fewest steps that the method is made for.
    """

    name: str
    kind: str
    options: Mapping[str, object]
    grids: Mapping[str, Mapping[str, object]]
    calls: Callable[[int], int] = lambda steps: steps
    least: int = 1

    def runs(self, problem: Problem, steps: int) -> list[DiffusersRun]:
        """One on each grid."""
        options = {grid: {**self.options, **variant} for grid, variant in self.grids.items()}
        return [DiffusersRun(problem, self.name, grid, self.kind, chosen, steps) for grid, chosen in options.items()]


_TRAILING = {"trailing": {"timestep_spacing": "trailing"}}
_LINSPACE = {"linspace": {"timestep_spacing": "linspace"}}
_KARRAS = {"karras": {"timestep_spacing": "linspace", "use_karras_sigmas": True}}
_TO_SIGMA_MIN = {"linspace to sigma_min": {"timestep_spacing": "linspace", "final_sigmas_type": "sigma_min"}}
_MULTISTEP = {**_LINSPACE, **_TRAILING, **_KARRAS}

_UNTHRESHOLDED = {"thresholding": False}
_DPM = {"algorithm_type": "dpmsolver++", **_UNTHRESHOLDED}
_DPM_GRIDS = {**_MULTISTEP, **_TO_SIGMA_MIN}

SCHEDULERS = (
    _Scheduler("DDIM", "DDIMScheduler", {"clip_sample": False}, _TRAILING),
    _Scheduler("PNDM", "PNDMScheduler", {"skip_prk_steps": False}, _TRAILING, lambda n: n + 9, least=4),
    _Scheduler("PNDM (PLMS)", "PNDMScheduler", {"skip_prk_steps": True}, _TRAILING, lambda n: n + 1, least=2),
    _Scheduler("DEIS 2", "DEISMultistepScheduler", {**_UNTHRESHOLDED, "solver_order": 2}, _MULTISTEP),
    _Scheduler("DEIS 3", "DEISMultistepScheduler", {**_UNTHRESHOLDED, "solver_order": 3}, _MULTISTEP),
    _Scheduler("DPM++ 2M", "DPMSolverMultistepScheduler", {**_DPM, "solver_order": 2}, _DPM_GRIDS),
    _Scheduler("DPM++ 3M", "DPMSolverMultistepScheduler", {**_DPM, "solver_order": 3}, _DPM_GRIDS),
    _Scheduler("UniPC 2", "UniPCMultistepScheduler", {**_UNTHRESHOLDED, "solver_order": 2}, _DPM_GRIDS),
    _Scheduler("UniPC 3", "UniPCMultistepScheduler", {**_UNTHRESHOLDED, "solver_order": 3}, _DPM_GRIDS),
    _Scheduler("Heun", "HeunDiscreteScheduler", {"clip_sample": False}, _MULTISTEP, lambda n: 2 * n - 1),
)


def betas(schedule: Schedule) -> NDArray[np.float64]:
    """The table whose cumulative product of 1 - beta is alpha^2 at the times (k + 1) / 1000 of t_max."""
    log_alpha = schedule.log_alpha(_times(schedule, np.arange(-1, ENTRIES)))
    return -np.expm1(2.0 * np.diff(log_alpha))


def _times(schedule: Schedule, index: object) -> NDArray[np.float64]:
    """Our times of (real-valued) indices of their tables."""
    return schedule.t_max * (np.asarray(index, dtype=np.float64) + 1.0) / ENTRIES


@dataclass(frozen=True)
class DiffusersRun:
    """One scheduler on one of its grids with ``steps`` inference steps, ready to be solved any number of times."""

    problem: Problem
    name: str
    grid: str
    kind: str
    options: Mapping[str, object]
    steps: int

    def scheduler(self) -> Any:
        """A new scheduler, its timesteps set."""
        scheduler = getattr(diffusers, self.kind)(
            num_train_timesteps=ENTRIES, trained_betas=betas(self.problem.schedule).tolist(), **self.options
        )
        scheduler.set_timesteps(self.steps)
        return scheduler

    @property
    def nfe(self) -> int:
        """One network call for every timestep that is handed out, stages of a step included."""
        return len(self.scheduler().timesteps)

    @property
    def description(self) -> str:
        """Everything that decides the outcome but network and latents."""
        return json.dumps([diffusers.__version__, self.kind, dict(self.options), self.steps], sort_keys=True)

    @property
    def end(self) -> float:
        """The time at which it stops: t_zero or t_end."""
        schedule, gamma = self.problem.schedule, self._last_gamma()
        if gamma == 0.0:
            return schedule.t_zero
        wanted = float(schedule.gamma(schedule.t_end))
        if abs(gamma - wanted) > _END_TOLERANCE * wanted:
            raise ValueError(f"{self.name} on {self.grid} ends at gamma={gamma}; give one that ends at {wanted} or 0")
        return schedule.t_end

    def _last_gamma(self) -> float:
        scheduler = self.scheduler()
        if hasattr(scheduler, "sigmas"):
            return float(scheduler.sigmas[-1])
        index = int(scheduler.timesteps[-1]) - ENTRIES // self.steps
        last = scheduler.alphas_cumprod[index] if index >= 0 else scheduler.final_alpha_cumprod
        return float(((1.0 - last) / last) ** 0.5)

    @torch.no_grad()
    def solve(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Final states [len(ids), *shape] from the latents of these numbers."""
        scheduler, model, schedule = self.scheduler(), self.problem.model, self.problem.schedule
        labels = model.label(_times(schedule, scheduler.timesteps.numpy()))
        x = self.problem.latents(ids) * scheduler.init_noise_sigma
        chosen = classes(ids)
        for timestep, label in zip(scheduler.timesteps, labels.tolist(), strict=True):
            given = scheduler.scale_model_input(x, timestep)
            output = model(given, torch.full((len(ids),), label), class_labels=chosen)
            x = scheduler.step(output, timestep, x).prev_sample
        return x.numpy()


def runs(problem: Problem, nfes: Sequence[int]) -> Iterator[DiffusersRun]:
    """Every scheduler on every grid of its own with every number of network calls that it can make."""
    for scheduler, nfe in itertools.product(SCHEDULERS, nfes):
        for steps in range(scheduler.least, nfe + 1):
            if scheduler.calls(steps) == nfe:
                yield from scheduler.runs(problem, steps)
