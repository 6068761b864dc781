"""Schedulers whose state is x / alpha = x_0 + sigma eps, as in k-diffusion: Euler's and Heun's methods."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from diffusers.schedulers.scheduling_utils import SchedulerMixin, SchedulerOutput  # noqa: F401  for pipelines
from torch import Tensor

from ..._eager import eager
from .built import Wanted
from .options import SIGMAS, TABLE, constructor
from .rows import unit
from .scheduler import PlanBasedScheduler
from .stepping import Generators, Result

__all__ = ["EulerScheduler", "HeunScheduler"]


class SigmaSpace(PlanBasedScheduler):
    """The state x / alpha = x_0 + sigma eps of k-diffusion."""

    habit = "euler"
    sigma_space = True
    begins_with_all = True
    gives_x0 = True

    @property
    def init_noise_sigma(self) -> Tensor:
        """The largest noise level, or that of data and noise together where the grid begins below the last time."""
        highest = self._levels(np.array([self._run.built.times[0] if self._has_run else self._schedule.t_max]))[0]
        from_the_last = self.config["timestep_spacing"] in ("linspace", "trailing")
        return torch.tensor(highest if from_the_last else math.hypot(highest, 1.0))

    @eager
    def scale_model_input(self, sample: Tensor, timestep: float | Tensor | None = None) -> Tensor:
        """x = alpha (x / alpha), what the network was trained on. timestep: as of :meth:`step`."""
        run = self._run
        place = None if timestep is None else run.place(timestep)
        if place is None:
            return sample if timestep is None else sample * unit(self._schedule, self._time_of(float(timestep)))
        return sample * unit(self._schedule, run.built.asked[place])

    def _levels(self, times: np.ndarray) -> list[float]:
        return [float(self._schedule.sigma(t)) / unit(self._schedule, t) for t in times.tolist()]


class EulerScheduler(SigmaSpace):
    """Euler's method in sigma, which is DDIM."""

    of_output = True

    diffusers_class = "EulerDiscreteScheduler"
    __init__ = constructor(TABLE, SIGMAS, interpolation_type="linear", timestep_type="discrete")

    def _solver(self, config: Mapping[str, Any], steps: int) -> tuple[str, Mapping[str, object]]:
        return "ddim", {}

    def step(
        self,
        model_output: Tensor,
        timestep: float | Tensor,
        sample: Tensor,
        s_churn: float = 0.0,
        s_tmin: float = 0.0,
        s_tmax: float = math.inf,
        s_noise: float = 1.0,
        generator: Generators = None,
        return_dict: bool = True,
    ) -> Result:
        """The row of this time. ValueError for churn, which PlanScheduler(solver="edm_heun") has."""
        if s_churn:
            raise ValueError(
                f"s_churn={s_churn}: not of Euler's method here; take PlanScheduler(solver='edm_heun', "
                f"solver_options={{'s_churn': {s_churn}}})"
            )
        return self._step(model_output, timestep, sample, generator=generator, return_dict=return_dict)


class HeunScheduler(SigmaSpace):
    """Heun's method in sigma: two evaluations per step, each in ``timesteps``, one in the last."""

    diffusers_class = "HeunDiscreteScheduler"
    __init__ = constructor(TABLE, SIGMAS, beta_start=0.00085, beta_end=0.012, clip_sample=False, clip_sample_range=1.0)

    def _solver(self, config: Mapping[str, Any], steps: int) -> tuple[str, Mapping[str, object]]:
        return "edm_heun", {}

    def _clipped(self, wanted: Wanted) -> Wanted:
        return replace(wanted, clip=float(self.config["clip_sample_range"])) if self.config["clip_sample"] else wanted

    def step(
        self,
        model_output: Tensor,
        timestep: float | Tensor,
        sample: Tensor,
        return_dict: bool = True,
        generator: Generators = None,
    ) -> Result:
        """The row of this time, one of the two of a step. generator: unused, as of :class:`DEISScheduler`."""
        return self._step(model_output, timestep, sample, return_dict=return_dict)
