"""What pipelines read of a scheduler: times, noise levels, where it is."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .noising import Noising
from .tables import refuse_others
from .threads import Threads

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

    _threads: Threads

    @property
    def _has_run(self) -> bool:
        return self._threads.latest is not None

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
        """What the network is given at each evaluation; before set_timesteps every time of the model, falling.

        May be set to the same numbers in another dtype or on another device, as pipelines do; ValueError for others.
        """
        return self._run.timesteps if self._has_run else self._all_timesteps()

    @timesteps.setter
    def timesteps(self, value: Tensor) -> None:
        refuse_others("timesteps", value, self.timesteps, "ask set_timesteps for them, which may take timesteps=")
        self._run.hand_out(value)

    @property
    def sigmas(self) -> Tensor:
        """Noise levels of the evaluations and of the end, float32 on the CPU: gamma of a table, t of a flow.

        May be set as ``timesteps``.
        """
        return self._run.levels if self._has_run else self._all_levels()

    @sigmas.setter
    def sigmas(self, value: Tensor) -> None:
        refuse_others("sigmas", value, self.sigmas, "ask set_timesteps(sigmas=...) for them")
        self._run.levels = value

    def _all_timesteps(self) -> Tensor:
        return torch.arange(len(self) - 1, -1, -1)

    def _all_levels(self) -> Tensor:
        return torch.from_numpy(np.array(self._levels(self._every_time()))).float()

    def _levels(self, times: np.ndarray) -> list[float]:
        of = self._schedule.noise_share if self._is_flow else self._schedule.gamma
        return [float(v) for v in of(times)]

    @property
    def num_inference_steps(self) -> int | None:
        return len(self._run.built.times) - 1 if self._has_run else None

    @property
    def step_index(self) -> int | None:
        """The index of the next step; None before the first.

        Loops of others set ``_step_index``, None to begin again: the step there has no history then.
        """
        return self._run.index if self._has_run else None

    @property
    def _step_index(self) -> int | None:
        return self.step_index

    @_step_index.setter
    def _step_index(self, value: int | None) -> None:
        if value != self._run.index:
            self._run.passed(None if value is None else value - 1)

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
