"""Any solver of the registry, or a plan from a file, behind one scheduler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.schedulers.scheduling_utils import SchedulerMixin, SchedulerOutput  # noqa: F401  for pipelines

from ...plan import Plan
from ...schedules import AlphasCumprod
from ...solvers.choosing import Options
from ...solvers.make import AUTO_NAME
from ...solvers.registry import find, recipe_of
from .built import Wanted, built_of
from .classic import Drawing
from .options import FLOW_SIGMAS, SIGMAS, TABLE, THRESHOLD, constructor
from .run import Run
from .scheduler import Times

__all__ = ["PlanScheduler"]

_OWN, _CONFIGURED = "auto", "config"


class PlanScheduler(Drawing):
    """Any registered solver by its name, or a plan as it is; of table schedules and of flow.

    solver: "auto", the best of all for the schedule and the number of evaluations, or a name or known spelling.
    solver_options: of that solver, for example {"s_churn": 10.0} of "edm_heun". grid: "auto", what the solver's score
    chooses, "config", the spacing and sigmas of the configuration, or a name of ``grids.GRIDS`` or
    ``grids.DISCRETE_GRIDS``; flow takes the configured shift in any case. plan: a plan's JSON text, or the path of a
    file with it, which is kept in the configuration; it says solver, grid and number of evaluations itself.

    ``set_timesteps(N)`` means N network evaluations, whatever the solver makes of them in a step. A configuration of a
    FlowMatch class is read as flow with its shift. The network predicts what ``prediction_type`` says.

    ValueError for an unknown solver, and for a plan that is of another schedule or prediction, guided, or not JSON.
    """

    diffusers_class = "DDIMScheduler"
    counts_evaluations = True
    __init__ = constructor(
        TABLE, SIGMAS, FLOW_SIGMAS, THRESHOLD, solver=AUTO_NAME, solver_options=None, grid=_OWN, plan=None,
        set_alpha_to_one=True,
    )  # fmt: skip

    @classmethod
    def from_config(cls, config: Any = None, return_unused_kwargs: bool = False, **kwargs: Any) -> Any:
        """As of every class of diffusers."""
        if isinstance(config, dict) and "shift" in config and "beta_schedule" not in config:
            if config.get("invert_sigmas") or config.get("stochastic_sampling"):
                raise ValueError(
                    "config: with invert_sigmas or stochastic_sampling, which FlowMatchScheduler has; take it"
                )
            own = {"use_flow_sigmas": True, "flow_shift": config["shift"], "prediction_type": "flow_prediction"}
            config, kwargs = {name: value for name, value in config.items() if name != "shift"}, {**own, **kwargs}
        return super().from_config(config, return_unused_kwargs=return_unused_kwargs, **kwargs)

    def _check(self) -> None:
        super()._check()
        text = self.config["plan"]
        self._given: Plan | None = None
        if text is not None:
            self._given = _read(text)
            self.register_to_config(plan=self._given.to_json())

    def _configure(self) -> None:
        super()._configure()
        if self._given is not None:
            _check_fit(self._given, self)

    flow_spacing = "flow_match"

    def _solver(self, config: Mapping[str, Any], steps: int) -> tuple[str, Mapping[str, object]]:
        options = config["solver_options"] or {}
        return (AUTO_NAME if config["solver"] == AUTO_NAME else find(config["solver"]).name), options

    # --- times

    def _times(
        self,
        steps: int | None,
        timesteps: Sequence[float] | None,
        sigmas: Sequence[float] | None,
        mu: float | None,
    ) -> Times:
        grid, schedule = self.config["grid"], self._schedule
        if self._given is not None and isinstance(schedule, AlphasCumprod) and steps is None:
            raise ValueError("timesteps, sigmas: beside plan=, which has times of its own; ask for num_inference_steps")
        if steps is None or grid == _CONFIGURED or not isinstance(schedule, AlphasCumprod):
            return super()._times(steps, timesteps, sigmas, mu)
        if timesteps is not None or sigmas is not None:
            return super()._times(None, timesteps, sigmas, mu)
        return Times(None, nfe=int(steps), grid=None if grid == _OWN else grid)

    def _make(self, asked: Times, device: str | torch.device | None) -> None:
        if self._given is None:
            super()._make(asked, device)
            return
        plan = self._given
        steps = asked.nfe or len(asked.times or ()) - 1
        if steps != plan.nfe:
            raise ValueError(f"num_inference_steps={steps}: the plan makes {plan.nfe} evaluations; ask for {plan.nfe}")
        recipe = plan.recipe if plan.recipe is None or plan.calibration is not None else recipe_of(plan)
        solver, options = (recipe.solver, recipe.options) if recipe is not None else ("plan", {})
        own = {name: value for name, value in options.items() if name not in ("prediction", "clip")}
        clip: Any = options.get("clip")
        made = built_of(self._schedule, self._prediction, plan)
        wanted = Wanted(solver, self._schedule, self._prediction, made.times, options=Options(own), clip=clip)
        labels = [float(v) for v in self._schedule.label(np.array(made.asked))]
        levels = self._levels(np.array([*made.asked, made.times[-1]]))
        whole = not self._is_flow and all(label.is_integer() for label in labels)
        self._threads.begin(Run(wanted, made, labels, levels, whole=whole, device=device))


def _read(text: object) -> Plan:
    if not isinstance(text, str):
        raise TypeError(
            f"plan={type(text).__name__}: give a plan's JSON text, as of plan.to_json(), or the path of a file"
        )
    if not text.lstrip().startswith("{"):
        path = Path(text)
        if not path.is_file():
            raise ValueError(f"plan={text!r}: there is no such file; give a plan's JSON text, or the path of a file")
        text = path.read_text(encoding="utf-8")
    return Plan.from_json(text)


def _check_fit(plan: Plan, scheduler: PlanScheduler) -> None:
    """That the plan is for this scheduler's network."""
    if plan.guidance is not None:
        raise ValueError("plan: is guided, but a pipeline guides by itself; give the plan without guidance")
    if plan.recipe is None:
        raise ValueError("plan: has no recipe that says its schedule; give one from make_plan or a solver function")
    ours, theirs = scheduler.schedule.to_dict(), plan.schedule.to_dict()
    if {**ours, "shift": None} != {**theirs, "shift": None}:
        raise ValueError(
            f"plan: of the schedule {plan.schedule.name}, not of this configuration ({scheduler.schedule.name}, of "
            "other numbers or another kind); make it with schedules.from_diffusers(this scheduler's config)"
        )
    if plan.outputs != (scheduler._prediction,):
        raise ValueError(
            f"plan: for a network that returns {plan.outputs}; prediction_type says {scheduler._prediction!r}"
        )
    if scheduler.config["thresholding"]:
        raise ValueError(
            "thresholding=True beside plan=: the plan says its own bound; make it with make_plan(clip=...)"
        )
    if plan.rising:
        raise ValueError("plan: encodes, from data to noise; a pipeline samples")
