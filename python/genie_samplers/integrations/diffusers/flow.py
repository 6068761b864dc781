"""The scheduler of flow pipelines: any solver behind the surface of FlowMatchEulerDiscreteScheduler."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from diffusers.schedulers.scheduling_utils import SchedulerMixin, SchedulerOutput  # noqa: F401  for pipelines
from torch import Tensor

from ...schedules import Flow, Schedule
from ...solvers.make import AUTO_NAME
from ...solvers.registry import find
from .built import RENOISED, Wanted
from .options import DYNAMIC_SHIFT, SIGMAS, constructor
from .per_token import per_token_step
from .run import Run
from .scheduler import PlanBasedScheduler, Times
from .stepping import Generators, Result

__all__ = ["FlowMatchScheduler"]


class FlowMatchScheduler(PlanBasedScheduler):
    """Flow matching in few steps, for the pipelines of FLUX, SD3, Qwen-Image, Wan, LTX, SANA, Z-Image and others.

    solver: "auto" (the best for the noise levels at hand), or a name of the registry or a known spelling: "euler" is
    FlowMatchEulerDiscreteScheduler, "heun", "flow_ab2", "dpmpp_2m", "unipc2", "deis_log_ab1", ... solver_options: of
    that solver. exact_grid: the shift acts once. By default ``set_timesteps(N)`` alone makes the noise levels that
    diffusers makes, in which a static shift acts twice on the last one (#13243), and shifts the caller's ``timesteps``;
    pipelines that pass ``sigmas`` meet neither. The other options are as of that class.

    spacing: of the noise levels by itself, one of ``grids.SPACINGS``. A configuration of UniPC, DPMSolver or DEIS with
    ``use_flow_sigmas`` is read too, with its ``flow_shift`` and its spacing.
    """

    _compatibles = []  # noqa: RUF012  as its namesake has none
    diffusers_class = "FlowMatchEulerDiscreteScheduler"
    of_output = True
    __init__ = constructor(
        {"num_train_timesteps": 1000, "shift": 1.0}, DYNAMIC_SHIFT,
        {name: False for name in SIGMAS if name.startswith("use_")},
        invert_sigmas=False, stochastic_sampling=False, solver=AUTO_NAME, solver_options=None, exact_grid=False,
        spacing="flow_match",
    )  # fmt: skip

    @classmethod
    def from_config(cls, config: Any = None, return_unused_kwargs: bool = False, **kwargs: Any) -> Any:
        """As of every class of diffusers; a flow configuration of a multistep class gives its shift."""
        if isinstance(config, dict) and "shift" not in config:
            if config.get("use_flow_sigmas"):
                kwargs.setdefault("shift", config.get("flow_shift", 1.0))
                own = {"UniPCMultistepScheduler": "unipc", "UniPCScheduler": "unipc"}
                kwargs.setdefault("spacing", own.get(str(config.get("_class_name")), "multistep"))
                read = ("use_flow_sigmas", "flow_shift", "prediction_type")
                config = {name: value for name, value in config.items() if name not in read}
            elif "beta_schedule" in config:
                raise ValueError(
                    f"config: of {config.get('_class_name')} without use_flow_sigmas, which is no flow; take "
                    "PlanScheduler, or a class of this module with a table of betas"
                )
        return super().from_config(config, return_unused_kwargs=return_unused_kwargs, **kwargs)

    def _configured_schedule(self) -> Schedule:
        self._own_shift = float(self.config["shift"])
        return Flow(label_scale=float(self.config["num_train_timesteps"]))

    def _configured_prediction(self) -> str:
        return "flow"

    def _solver(self, config: Mapping[str, Any], steps: int) -> tuple[str, Mapping[str, object]]:
        options = config["solver_options"] or {}
        if config["stochastic_sampling"]:
            return RENOISED, {}
        if config["solver"] == AUTO_NAME:
            return AUTO_NAME, options
        name = "flow_heun" if config["solver"] == "heun" else find(config["solver"]).name
        return name, options

    # --- times

    @property
    def shift(self) -> float:
        """The static shift."""
        return self._own_shift

    def set_shift(self, shift: float) -> None:
        """Another static shift from the next set_timesteps on."""
        if not 0.0 < shift < math.inf:
            raise ValueError(f"shift={shift!r}: give a positive finite number")
        self._own_shift = float(shift)

    @property
    def _moving(self) -> object:
        return self._own_shift

    @property
    def _shift(self) -> float:
        return self._own_shift

    @property
    def flow_spacing(self) -> str:  # type: ignore[override]
        spacing = str(self.config["spacing"])
        return "flow_match_exact" if self.config["exact_grid"] and spacing == "flow_match" else spacing

    def _times(
        self,
        steps: int | None,
        timesteps: Sequence[float] | None,
        sigmas: Sequence[float] | None,
        mu: float | None,
    ) -> Times:
        given = {
            "num_inference_steps": steps,
            "timesteps": timesteps and len(timesteps),
            "sigmas": sigmas and len(sigmas),
        }
        lengths = {length for length in given.values() if length is not None}
        if len(lengths) != 1:
            raise ValueError(f"{given}: give one of them, or several of equal length")
        if self.config["exact_grid"] and timesteps is not None and sigmas is None:
            grid = tuple(t / len(self) for t in timesteps)
            return Times((*grid, 0.0), labels=tuple(timesteps))
        found = self._flow_times(steps, timesteps, sigmas, mu)
        return found if timesteps is None else found._replace(labels=tuple(timesteps))

    def _make(self, asked: Times, device: str | torch.device | None) -> None:
        if self.config["invert_sigmas"] and asked.times is not None:
            asked = asked._replace(labels=self._inverted_labels(self._wanted(asked)))
        super()._make(asked, device)

    def _inverted_labels(self, wanted: Wanted) -> tuple[float, ...]:
        from .built import built

        return tuple(len(self) * (1.0 - t) for t in built(wanted).asked)

    def _wanted(self, asked: Times) -> Wanted:
        return replace(super()._wanted(asked), negated=bool(self.config["invert_sigmas"]))

    def _levels(self, times: np.ndarray) -> list[float]:
        levels = super()._levels(times)
        return [1.0 - level for level in levels] if self.config["invert_sigmas"] else levels

    def _all_timesteps(self) -> Tensor:
        return (self.sigmas * len(self)).float()

    def _all_levels(self) -> Tensor:
        every = np.arange(len(self), 0, -1) / len(self)
        shift = 1.0 if self.config["use_dynamic_shifting"] else self._own_shift
        return torch.from_numpy(shift * every / (1.0 + (shift - 1.0) * every)).float()

    @property
    def sigma_min(self) -> float:
        """The last of every shifted time of the model."""
        return float(self._every_level(1.0 / len(self)))

    @property
    def sigma_max(self) -> float:
        """The first of every shifted time of the model."""
        return float(self._every_level(1.0))

    def _every_level(self, level: float) -> float:
        shift = 1.0 if self.config["use_dynamic_shifting"] else self._own_shift
        return shift * level / (1.0 + (shift - 1.0) * level)

    # --- steps and noise

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
        per_token_timesteps: Tensor | None = None,
        return_dict: bool = True,
    ) -> Result:
        """The row of this time. per_token_timesteps: [B, L], each token's own time, of a sample [B, L, C]: Euler's step
        to the next noise level below it. The arguments s_* have no effect, as in the class of diffusers.

        ValueError for an index in place of a time.
        """
        if per_token_timesteps is None:
            return self._step(model_output, timestep, sample, generator=generator, return_dict=return_dict)
        _refuse_index(timestep)
        run = self._run
        made = per_token_step(model_output, sample, per_token_timesteps / len(self), run.levels)
        run.passed(run.place(timestep))
        return SchedulerOutput(prev_sample=made) if return_dict else (made,)

    def _run_of(self, sample: Tensor, timestep: float | Tensor) -> Run:
        _refuse_index(timestep)
        return super()._run_of(sample, timestep)

    def scale_noise(self, sample: Tensor, timestep: float | Tensor, noise: Tensor | None = None) -> Tensor:
        """sigma noise + (1 - sigma) sample, sigma the noise level of these times, one of each sample or one of all."""
        if noise is None:
            raise ValueError("noise: missing; pass standard normals like the sample")
        levels = [self._level(t) for t in torch.as_tensor(timestep).reshape(-1).tolist()]
        share = torch.tensor(levels, dtype=torch.float64).to(sample.device).reshape(-1, *(1,) * (sample.ndim - 1))
        share = share.to(sample.dtype)
        return share * noise + (1.0 - share) * sample

    def _level(self, label: float) -> float:
        """The noise level of a time of the list, which may be another than its share of the model's times."""
        listed = self._run.timesteps.tolist() if self._has_run else []
        return float(self._run.levels[listed.index(label)]) if label in listed else label / len(self)

    def _alpha_and_sigma(self, timesteps: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        share = self.scale_noise(torch.zeros_like(like), timesteps, torch.ones_like(like))
        return 1.0 - share, share


def _refuse_index(timestep: object) -> None:
    if isinstance(timestep, int) or (isinstance(timestep, Tensor) and not timestep.is_floating_point()):
        raise ValueError(
            "timestep: an integer, such as an index of enumerate(timesteps); pass one of scheduler.timesteps"
        )
