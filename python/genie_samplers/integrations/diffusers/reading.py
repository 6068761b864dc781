"""What pipelines read of a scheduler: times, noise levels, where it is."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .noising import Noising
from .run import Run

__all__ = ["Reading"]


class Reading(Noising):
    """Of a run; before the first set_timesteps of the model's every time."""

    _run: Any

    @classmethod
    def from_config(cls, config: Any = None, return_unused_kwargs: bool = False, **kwargs: Any) -> Any:
        """As of every class of diffusers; ValueError for a configuration of another kind, without a table of betas."""
        if isinstance(config, dict) and "beta_schedule" not in config:
            if "sigma_data" in config:
                raise ValueError(
                    f"config: of {config.get('_class_name')}, whose network is preconditioned; wrap it with models.edm "
                    "and call genie_samplers.sample"
                )
            if (
                "shift" in config
                and "shift" not in inspect.signature(cls).parameters
                and not kwargs.get("use_flow_sigmas")
            ):
                raise ValueError(
                    f"config: of {config.get('_class_name')}, a flow; take FlowMatchScheduler, PlanScheduler, or "
                    "use_flow_sigmas=True, prediction_type='flow_prediction' and flow_shift= where the class has these"
                )
        return super().from_config(config, return_unused_kwargs=return_unused_kwargs, **kwargs)  # type: ignore[misc]

    _latest: Run | None

    @property
    def _has_run(self) -> bool:
        return self._latest is not None

    @property
    def plan(self) -> Any:
        """The :class:`genie_samplers.Plan` that set_timesteps made, as the pipeline sees it."""
        return self._run.built.plan

    @property
    def state_bytes(self) -> int:
        """Of the memory that the thread's run holds between two steps."""
        return self._run.nbytes

    @property
    def timesteps(self) -> Tensor:
        """What the network is given at each evaluation; before set_timesteps every time of the model, falling."""
        if self._has_run:
            return self._run.timesteps
        return torch.arange(len(self) - 1, -1, -1)

    @property
    def sigmas(self) -> Tensor:
        """Noise levels of the evaluations and of the end, float32 on the CPU: gamma of a table, t of a flow."""
        if self._has_run:
            return self._run.levels
        return torch.from_numpy(np.array(self._levels(self._every_time()))).float()

    def _levels(self, times: np.ndarray) -> list[float]:
        of = self._schedule.noise_share if self._is_flow else self._schedule.gamma
        return [float(v) for v in of(times)]

    @property
    def num_inference_steps(self) -> int | None:
        return len(self._run.built.times) - 1 if self._has_run else None

    @property
    def step_index(self) -> int | None:
        """The index of the next step; None before the first."""
        return self._run.index if self._has_run else None

    @property
    def begin_index(self) -> int | None:
        return self._run.begin if self._has_run else None

    def set_begin_index(self, begin_index: int = 0) -> None:
        """Begin at this index of ``timesteps``: image to image, inpainting."""
        run = self._run
        if not 0 <= begin_index < len(run.labels):
            raise ValueError(f"begin_index={begin_index}; timesteps has {len(run.labels)} entries")
        run.begin, run.index = begin_index, None

    @property
    def init_noise_sigma(self) -> float | Tensor:
        """The scale of the first sample."""
        return 1.0

    def scale_model_input(self, sample: Tensor, timestep: float | Tensor | None = None) -> Tensor:
        """The network's input: the sample itself, here."""
        return sample
