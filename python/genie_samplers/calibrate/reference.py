"""Latents and the fine solution that starts in them: what a calibration compares with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import grids
from .._arguments import integer
from ..models import as_model
from ..plan import Plan
from ..run import AnyModel, RowEvent, sample
from ..schedules import Schedule, check_schedule
from ..solvers import deis_tab
from .lattice import lattice
from .targets import starting_states

__all__ = ["Reference"]

Array = NDArray[np.float64]

_PARTS = 4  # fine steps between two nodes


@dataclass(frozen=True, eq=False)
class Reference:
    """The probability flow of ``model`` from some latents, recorded at nodes; made by :meth:`record`.

    times: float64 [M + 2], falling from t_max over t_end to t_zero, [M + 1] where both are one. states: [M + 2, B, D],
    the flow at these times. epsilon: [M + 1, B, D], the noise predictions there but the last; flow: less those of the
    data. latents: [B, ...], the states at t_max as the
    engine takes them.
    """

    model: AnyModel
    schedule: Schedule
    prediction: str
    latents: Tensor
    times: Array
    states: Tensor
    epsilon: Tensor
    flow: Tensor
    cond: Mapping[str, object] = field(default_factory=dict)
    shared: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def record(
        cls,
        model: AnyModel,
        schedule: Schedule,
        *,
        shape: Sequence[int],
        seed: int = 1,
        cond: Mapping[str, object] | None = None,
        shared: Mapping[str, object] | None = None,
        prediction: str | None = None,
        nodes: int = 20,
    ) -> Reference:
        """Solve the flow from the latents that ``sample(model, plan, shape=shape, seed=seed)`` starts in.

        shape: [B, ...]; cond, shared: as for ``sample``. nodes: steps between the recorded times; the solution takes
        four times as many, of deis_tab3. prediction: the model's own by default, else epsilon. Raises what ``sample``
        raises, ValueError for fewer than 2 nodes.
        """
        check_schedule(schedule)
        prediction = prediction or as_model(model).prediction or "epsilon"
        times = lattice(schedule, integer(nodes, "nodes", least=2))
        fine = _to_zero(schedule, grids.subdivided(schedule, times, _PARTS))
        plan = deis_tab(schedule, fine, order=3, prediction=prediction)
        cond, shared = dict(cond or {}), dict(shared or {})
        latents = starting_states(model, plan, shape, seed, cond, shared)
        recorder = _Recorder(schedule, latents)
        sample(model, plan, state=latents, cond=cond, shared=shared, on_row=recorder, progress=False)
        return cls(
            model, schedule, prediction, latents, _to_zero(schedule, times),
            torch.stack(recorder.states), torch.stack(recorder.epsilon), torch.stack(recorder.flow), cond, shared,
        )  # fmt: skip

    def residual(self, plan: Plan) -> Array:
        """The plan's final states less the flow at the same time: float64 [B * D].

        ValueError unless the plan's grid ends at t_end or t_zero.
        """
        x = sample(self.model, plan, state=self.latents, cond=self.cond, shared=self.shared, progress=False)
        target = self.states[self._node_of_end(plan)]
        return (x.double().cpu().flatten(1) - target.double()).flatten().numpy()

    def rmse(self, plan: Plan) -> float:
        """Root mean square of :meth:`residual`."""
        return float(np.sqrt(np.mean(self.residual(plan) ** 2)))

    def _node_of_end(self, plan: Plan) -> int:
        if plan.schedule != self.schedule or plan.times[0] != self.schedule.t_max:
            raise ValueError("plan: of another schedule, or it does not start at t_max, where the latents are")
        ends = {self.schedule.t_end: -2, self.schedule.t_zero: -1}
        end = None if plan.recipe is None else plan.recipe.grid[-1]
        if end not in ends:
            fix = "build one whose grid ends at the schedule's t_end or t_zero"
            raise ValueError(f"plan: its last time is {end}, where the flow is not recorded; {fix}")
        return ends[end]


def _to_zero(schedule: Schedule, times: Array) -> Array:
    return times if times[-1] == schedule.t_zero else grids.with_zero(schedule, times)


class _Recorder:
    """Collects what a run of the fine grid knows at the nodes."""

    def __init__(self, schedule: Schedule, latents: Tensor) -> None:
        self.schedule = schedule
        self.before = latents
        self.states = [latents.flatten(1).cpu()]
        self.epsilon: list[Tensor] = []
        self.flow: list[Tensor] = []

    def __call__(self, event: RowEvent) -> None:
        if event.row % _PARTS == 0:
            alpha, sigma = float(self.schedule.alpha(event.time)), float(self.schedule.sigma(event.time))
            x0 = event.predicted_x0().double()
            epsilon = (self.before.double() - alpha * x0) / sigma
            self.epsilon.append(epsilon.flatten(1).cpu())
            self.flow.append((epsilon - x0).flatten(1).cpu())
        if event.row % _PARTS == _PARTS - 1 or event.next_time == self.schedule.t_zero:
            self.states.append(event.x.flatten(1).cpu())
        self.before = event.x
