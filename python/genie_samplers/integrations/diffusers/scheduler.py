"""What every scheduler here is: the contract of diffusers over a plan."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from diffusers.configuration_utils import ConfigMixin
from diffusers.schedulers.scheduling_ddim import DDIMSchedulerOutput
from diffusers.schedulers.scheduling_utils import KarrasDiffusionSchedulers, SchedulerMixin, SchedulerOutput
from torch import Tensor

from ... import predictions
from ..._eager import eager
from ...schedules import AlphasCumprod, Schedule, from_diffusers
from .built import Wanted, built, evaluations_of_a_step
from .grids import exactly_one, flow_levels, given_levels, given_times, listed, table_times, times_of_levels, whole
from .reading import Reading
from .run import Run, refuse_transforms
from .stepping import Stepping
from .threads import Threads

__all__ = ["PlanBasedScheduler", "Times"]


Result = SchedulerOutput | DDIMSchedulerOutput | tuple[Tensor]
Generators = torch.Generator | Sequence[torch.Generator] | None

_is_compiling = torch.compiler.is_compiling  # looked up once: a step takes little longer than ten such look-ups


class Times(NamedTuple):
    """times: the grid that set_timesteps asks for, its end included, or None for ``nfe`` evaluations on the ``grid`` of
    that name, or on the one that is chosen.

    labels: what the network is given where that is not the schedule's label of its time.
    """

    times: tuple[float, ...] | None
    nfe: int | None = None
    grid: str | None = None
    labels: tuple[float, ...] | None = None


class PlanBasedScheduler(Stepping, Reading, SchedulerMixin, ConfigMixin):
    """A scheduler of diffusers whose steps are the rows of a plan.

    ``set_timesteps`` makes the plan, ``step`` runs one row of it. What happens between the two belongs to the thread,
    so that one scheduler serves many; a thread that was not given its own goes on with the plan made last. Copies and
    pickles go their own way and share the tables.

    Subclasses say which class of diffusers their configuration is of (``diffusers_class``), whose spacings they
    take (``habit``), whether their state is x / alpha (``sigma_space``), and in :meth:`_solver` which solver with which
    options.
    """

    _compatibles: ClassVar[list[str]] = [each.name for each in KarrasDiffusionSchedulers]
    order: int = 1  # evaluations of a step, by which pipelines count where they begin midway
    counts_evaluations: ClassVar[bool] = False  # whether num_inference_steps says evaluations
    diffusers_class: ClassVar[str] = "DDIMScheduler"
    habit: ClassVar[str] = "multistep"
    sigma_space: ClassVar[bool] = False
    flow_spacing: ClassVar[str] = "multistep"  # of grids.SPACINGS, where use_flow_sigmas is set
    begins_with_all: ClassVar[bool] = False  # whether every time of the model is a step before set_timesteps
    of_output: ClassVar[bool] = False  # whether a step returns the dtype of the network's output

    # --- configuration

    def _configure(self) -> None:
        """What the registered configuration makes; ValueError naming the option."""
        self._own_options: tuple[Mapping[str, Any], Mapping[str, Any]] | None = None
        self._check()
        self._size = int(self.config["num_train_timesteps"])
        self._schedule = self._configured_schedule()
        self._prediction = self._configured_prediction()
        self._threads = Threads()
        self._tables: dict[torch.device, tuple[Tensor, Tensor]] = {}
        solver, _ = self._solver(self.config, 1)  # refuses an option now, not after the text has been encoded
        self.order = 1 if self.counts_evaluations else evaluations_of_a_step(solver)
        self._seen, self._made_of = self.config, self._options

    def _check(self) -> None:
        if self._options.get("use_beta_sigmas") and self._options.get("use_karras_sigmas"):
            raise ValueError("use_beta_sigmas, use_karras_sigmas: only one of them can be set")

    def _configured_schedule(self) -> Schedule:
        shift = {"use_dynamic_shifting": False}  # the times are shifted, not the schedule
        return from_diffusers({**self.config, **shift, "_class_name": self.diffusers_class})

    def _configured_prediction(self) -> str:
        return predictions.from_diffusers({**self.config, "_class_name": self.diffusers_class})

    def _solver(self, config: Mapping[str, Any], steps: int) -> tuple[str, Mapping[str, object]]:
        """The registered solver and its options for this many steps; ValueError for a configuration that none has."""
        raise NotImplementedError

    def _take_up_changes(self) -> None:
        """Options that were registered after construction, as pipelines do."""
        if self.config is self._seen:
            return
        now, before = self._options, self._made_of
        if not all(now[name] is before[name] or np.array_equal(now[name], before[name]) for name in now):
            self._configure()
        self._seen = self.config

    @property
    def _options(self) -> Mapping[str, Any]:
        """The configuration, but for the options of other classes that from_config leaves in it."""
        known = self._own_options
        if known is None or known[0] is not self.config:  # which pipelines replace to change it
            named = _named(type(self))
            known = self.config, {name: value for name, value in self.config.items() if name in named}
            self._own_options = known
        return known[1]

    @property
    def schedule(self) -> Schedule:
        """alpha and sigma of every time, float64; as :func:`genie_samplers.schedules.from_diffusers` reads them."""
        return self._schedule

    # --- times

    @eager
    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: str | torch.device | None = None,
        timesteps: Sequence[float] | Tensor | None = None,
        sigmas: Sequence[float] | Tensor | None = None,
        mu: float | None = None,
    ) -> None:
        """Make the plan of ``num_inference_steps`` steps, or of the caller's ``timesteps`` or ``sigmas``.

        timesteps: falling times of the network, whole or not. sigmas: falling noise levels, gamma = sigma / alpha of a
        table, t of a flow; taken exactly. mu: log of the shift where ``use_dynamic_shifting`` is set, else unused.
        ValueError for times that do not fall, and for more steps than the model has times.
        """
        refuse_transforms("set_timesteps")
        if num_inference_steps is not None:
            num_inference_steps = whole(num_inference_steps, "num_inference_steps")
        self._take_up_changes()
        times, levels = listed(timesteps), listed(sigmas)
        asked = num_inference_steps, times, levels, mu, device, self.config, self._moving
        latest = self._threads.latest
        if latest is not None and latest.asked == asked:
            self._again(latest)
            return
        self._make(self._times(num_inference_steps, times, levels, mu), device)
        self._run.asked = asked

    @property
    def _moving(self) -> object:
        """What decides the plan beside the configuration."""
        return None

    def _again(self, latest: Run) -> None:
        """The plan made last, from its beginning; in the memory of the thread's own last run of it."""
        before, run = self._threads.own(), latest.fresh()
        self._threads.begin(run)
        if before is not None and before.is_of_this_thread:
            run.take_memory(before)

    def _times(
        self,
        steps: int | None,
        timesteps: Sequence[float] | None,
        sigmas: Sequence[float] | None,
        mu: float | None,
    ) -> Times:
        schedule = self._schedule
        if not isinstance(schedule, AlphasCumprod):
            return self._flow_times(steps, timesteps, sigmas, mu)
        exactly_one(num_inference_steps=steps, timesteps=timesteps, sigmas=sigmas)
        if timesteps is not None:
            times = given_times(schedule, timesteps)
        elif sigmas is not None:
            return Times(tuple(self._times_of(given_levels(sigmas))))
        else:
            times = table_times(schedule, self._options, int(steps or 0), self.habit)
        self._refuse_no_signal(times)
        return Times((*times.tolist(), self._end(times)))

    def _flow_times(
        self,
        steps: int | None,
        timesteps: Sequence[float] | None,
        sigmas: Sequence[float] | None,
        mu: float | None,
    ) -> Times:
        if timesteps is None and sigmas is None:
            exactly_one(num_inference_steps=steps)
        levels = flow_levels(
            self._options,
            steps,
            spacing=self.flow_spacing,
            shift=self._shift,
            mu=mu,
            sigmas=sigmas,
            timesteps=timesteps,
        )
        return Times((*levels.tolist(), 0.0))

    @property
    def _shift(self) -> float:
        return float(self.config["flow_shift"])

    def _times_of(self, levels: np.ndarray) -> list[float]:
        """Of noise levels gamma; one that is above the table's last is that."""
        assert isinstance(self._schedule, AlphasCumprod)
        times = times_of_levels(self._schedule, levels).tolist()
        return times if levels[-1] == 0.0 else [*times, self._end(np.array(times))]

    def _end(self, times: np.ndarray) -> float:
        """The time at which the last step ends: no noise, or the first of the table where that is configured."""
        to_zero = self._options.get("final_sigmas_type", "zero") == "zero"
        if to_zero or times[-1] <= self._schedule.t_end:  # a step from there to there would waste an evaluation
            return float(self._schedule.t_zero)
        return float(self._schedule.t_end)

    def _refuse_no_signal(self, times: np.ndarray) -> None:
        rescaled = self._options.get("rescale_betas_zero_snr", False)
        if rescaled and self._prediction == "epsilon" and times[0] == self._schedule.t_max:
            raise ValueError(
                "rescale_betas_zero_snr=True with prediction_type='epsilon': at the last time there is no signal, so a "
                "prediction of the noise says nothing about the data; set prediction_type='v_prediction' for a model "
                "that was trained so, or rescale_betas_zero_snr=False"
            )

    def _make(self, asked: Times, device: str | torch.device | None) -> None:
        wanted = self._wanted(asked)
        made = built(wanted)
        labels = asked.labels or self._schedule.label(np.array(made.asked)).tolist()
        levels = self._levels(np.array([*made.asked, made.times[-1]]))
        whole = not self.sigma_space and not self._is_flow and all(label.is_integer() for label in labels)
        run = Run(wanted, made, labels, levels, whole=whole, device=device)
        run.of_output = self.of_output
        self._threads.begin(run)

    def _wanted(self, asked: Times) -> Wanted:
        steps = asked.nfe if asked.times is None else len(asked.times) - 1
        solver, options = self._solver(self._options, steps or 1)
        wanted = Wanted(
            solver, self._schedule, self._prediction, asked.times, asked.nfe, asked.grid, sigma_space=self.sigma_space
        ).using(options=options)
        return self._clipped(wanted)

    def _clipped(self, wanted: Wanted) -> Wanted:
        """With the bound that is configured."""
        if not self._options.get("thresholding", False):
            return wanted
        return replace(wanted, clip=float(self.config["sample_max_value"]), dynamic=True)

    # --- what pipelines read

    @property
    def _run(self) -> Run:
        """The thread's run; ValueError before set_timesteps."""
        threads = self._threads
        run = threads.own()
        if run is not None:
            return run
        if threads.latest is None and self.begins_with_all:
            self.set_timesteps(len(self))
        if threads.latest is None:
            raise ValueError(
                "Number of inference steps is 'None', you need to run 'set_timesteps' after creating the scheduler"
            )
        return threads.lend(threads.latest)

    # --- copies

    def __deepcopy__(self, memo: dict[int, Any]) -> PlanBasedScheduler:
        twin: Any = object.__new__(type(self))
        vars(twin).update(self.__getstate__())
        twin._threads = self._threads.copied(apart=True)
        return twin

    def __copy__(self) -> PlanBasedScheduler:
        return self.__deepcopy__({})

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_tables": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._own_options = None
        self._seen, self._made_of = self.config, self._options


@lru_cache(None)
def _named(kind: type) -> frozenset[str]:
    """The options of a class."""
    return frozenset(inspect.signature(kind).parameters)
