"""Solvers against a fine solution of the same ODE from the same latents."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import torch
from torch import Tensor

from .. import grids
from .._arguments import integer
from ..models import as_model
from ..plan import Plan
from ..run import AnyModel, NonFiniteError, sample
from ..schedules import Schedule
from ..solvers import deis_tab
from ..solvers.make import CALIBRATED_NAME, make_plan
from ..solvers.registry import UnreachableNFE

__all__ = ["Cell", "Comparison", "compare", "fine_plan", "rmse"]


@dataclass(frozen=True)
class Cell:
    """One solver at one number of evaluations: final states [B, ...] and their RMSE to ``fine``, [B, ...] too."""

    solver: str
    nfe: int
    samples: Tensor
    rmse: float
    fine: Tensor


@dataclass
class Comparison:
    """Cells in the order they were run; ``skipped`` holds (solver, nfe) that could not be run, with the reason."""

    fine: Tensor
    cells: list[Cell] = field(default_factory=list)
    skipped: dict[tuple[str, int], str] = field(default_factory=dict)

    def cell(self, solver: str, nfe: int) -> Cell | None:
        return next((c for c in self.cells if (c.solver, c.nfe) == (solver, nfe)), None)


def compare(
    model: AnyModel,
    schedule: Schedule,
    solvers: Sequence[str],
    nfes: Sequence[int],
    *,
    shape: Sequence[int],
    seed: int = 0,
    cond: Mapping[str, object] | None = None,
    shared: Mapping[str, object] | None = None,
    grid: str | None = None,
    clip: float | None = None,
    options: Mapping[str, Mapping[str, object]] = MappingProxyType({}),
    fine_steps: int = 200,
    on_cell: Callable[[Cell], None] | None = None,
) -> Comparison:
    """Run every solver at every NFE from the same latents, on its default grid unless ``grid`` names another.

    options: solver -> its options, as of :func:`genie_samplers.make_plan`. clip: as there; the fine solution is not
    clipped, it stays the network's own. cond, shared: as for ``sample``.
    What the network predicts is the first of the model's ``outputs``, epsilon where it has none. The fine solution is
    deis_tab3 on the Karras grid with ``fine_steps`` steps, continued to gamma = 0 for plans that end there. A number of
    evaluations that a solver cannot make exactly is skipped, and so are a plan that applies operators and a cell whose
    state became inf or NaN; any other bad argument raises before the first cell.
    """

    def run(plan: Plan) -> Tensor:
        return sample(model, plan, shape=shape, seed=seed, cond=cond, shared=shared, progress=False)

    prediction = as_model(model).prediction or "epsilon"
    plans, skipped = _plans(model, schedule, solvers, nfes, grid, prediction, clip, options)
    fine = run(fine_plan(schedule, fine_steps, prediction=prediction))
    fine_at_zero: Tensor | None = None
    result = Comparison(fine, skipped=skipped)
    for (name, nfe), plan in plans.items():
        target = fine
        if plan.recipe is not None and plan.recipe.grid[-1] == schedule.t_zero:
            if fine_at_zero is None:
                fine_at_zero = run(fine_plan(schedule, fine_steps, prediction=prediction, denoise=True))
            target = fine_at_zero
        try:
            samples = run(plan)
        except NonFiniteError as error:
            result.skipped[name, nfe] = str(error)
            continue
        result.cells.append(Cell(name, nfe, samples, rmse(samples, target), target))
        if on_cell is not None:
            on_cell(result.cells[-1])
    return result


def _plans(
    model: AnyModel,
    schedule: Schedule,
    solvers: Sequence[str],
    nfes: Sequence[int],
    grid: str | None,
    prediction: str,
    clip: float | None,
    options: Mapping[str, Mapping[str, object]],
) -> tuple[dict[tuple[str, int], Plan], dict[tuple[str, int], str]]:
    """The plans of the table by (solver, nfe), and why the others cannot be made."""
    if isinstance(solvers, str) or len(solvers) == 0:
        raise ValueError(f"solvers={solvers!r}; give a non-empty list of names")
    if len(nfes) == 0:
        raise ValueError(f"nfes={nfes!r}; give a non-empty list of integers")
    plans: dict[tuple[str, int], Plan] = {}
    skipped: dict[tuple[str, int], str] = {}
    for name, nfe in itertools.product(solvers, nfes):
        if name == CALIBRATED_NAME and not (grid is None and clip is None and not options.get(name)):
            skipped[name, nfe] = "its numbers are fitted; run it without grid, clip and options"
            continue
        try:
            plan = (
                make_plan(name, schedule, nfe, model=model)
                if name == CALIBRATED_NAME
                else make_plan(
                    name, schedule, nfe, grid=grid, prediction=prediction, clip=clip, options=options.get(name)
                )
            )
        except UnreachableNFE as error:
            skipped[name, nfe] = str(error)
            continue
        if plan.operators:
            skipped[name, nfe] = f"applies the operators {', '.join(plan.operators)}; run it by genie_samplers.sample"
        else:
            plans[name, nfe] = plan
    return plans, skipped


def fine_plan(schedule: Schedule, steps: int, *, prediction: str = "epsilon", denoise: bool = False) -> Plan:
    """What solvers are compared with: deis_tab3 on the Karras grid; ``denoise`` adds a step to gamma = 0.

    A flow schedule's grid ends there in any case, and is quadratic in t: of Karras' the last step is too long.
    """
    steps = integer(steps, "fine_steps", least=1)
    if schedule.t_end == schedule.t_zero:
        return deis_tab(schedule, grids.quadratic_t(schedule, steps), order=3, prediction=prediction)
    times = grids.power_gamma(schedule, steps)
    return deis_tab(schedule, grids.with_zero(schedule, times) if denoise else times, order=3, prediction=prediction)


def rmse(a: Tensor, b: Tensor) -> float:
    """Over all elements, in float64."""
    return float(torch.sqrt(torch.mean((a.double() - b.double()) ** 2)))
