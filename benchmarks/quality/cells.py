"""The cells of the quality table: one method on one grid at one number of evaluations, and its error."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from genie_samplers.plan import Plan
from genie_samplers.solvers.make import make_plan
from genie_samplers.solvers.registry import SOLVERS, UnreachableNFE

from .diffusers_schedulers import runs as diffusers_runs
from .problem import Problem
from .store import cached, digest

__all__ = ["GRIDS", "NFES", "Cell", "Table", "deterministic_solvers"]

GRIDS = ("uniform_t", "quadratic_t", "karras", "log_snr")
NFES = (4, 5, 6, 8, 10, 12, 15, 20)

States = NDArray[np.generic]


@dataclass(frozen=True)
class Cell:
    """rmse: to the fine solution at the cell's own end ("zero" or "t_end"), over all pixels of all latents."""

    library: str
    solver: str
    grid: str
    end: str
    nfe: int
    rmse: float


def deterministic_solvers() -> list[str]:
    return [name for name, solver in SOLVERS.items() if not solver.stochastic]


@dataclass
class Table:
    """Runs cells; final states lie in ``cache``, so that what was run once is only read again.

    count: latents. fine_steps: of the fine solution. left_out: solver -> why (some of) its cells cannot be run.
    """

    problem: Problem
    cache: Path
    count: int = 20
    fine_steps: int = 200

    def __post_init__(self) -> None:
        self.left_out: dict[str, str] = {}
        self.ids = range(self.count)

    def ours(
        self,
        solvers: Sequence[str],
        grids: Sequence[str],
        nfes: Sequence[int],
        options: Mapping[str, object] = MappingProxyType({}),
        label: str = "{}",
    ) -> Iterator[Cell]:
        """Every registered solver that these name, on every grid, at every number of evaluations it can make.

        options: of the solvers. label: what the cells call them, as a format of their name.
        """
        for solver, grid, nfe in itertools.product(solvers, grids, nfes):
            plan = self._plan(solver, grid, nfe, options)
            if plan is None or plan.recipe is None:
                continue
            try:
                states = self._states(self.problem.key(plan), lambda plan=plan: self.problem.solve(plan, self.ids))
            except ValueError as error:  # inf or NaN, or a network call where there is no label
                self.left_out[solver] = str(error)
                continue
            yield self._cell("genie-ext", label.format(solver), grid, nfe, states, plan.recipe.grid[-1])

    def diffusers(self, nfes: Sequence[int]) -> Iterator[Cell]:
        """Every scheduler of diffusers; final states that are not finite make no cell."""
        for run in diffusers_runs(self.problem, nfes):
            key = digest(run.description.encode(), self.problem.identity.encode())
            states = self._states(f"diffusers-{key}", lambda run=run: run.solve(self.ids))
            if np.isfinite(states).all():
                yield self._cell("diffusers", run.name, run.grid, run.nfe, states, run.end)
            else:
                self.left_out[f"diffusers {run.name} on {run.grid}"] = "gives NaN or inf"

    def _plan(self, solver: str, grid: str, nfe: int, options: Mapping[str, object]) -> Plan | None:
        try:
            plan = make_plan(solver, self.problem.schedule, nfe, grid=grid, options=options)
        except UnreachableNFE:
            return None
        if plan.stochastic:
            self.left_out[solver] = "draws noise, so it does not follow the ODE"
            return None
        if plan.output_names != self.problem.model.outputs[: len(plan.output_names)]:
            self.left_out[solver] = f"needs a network with the outputs {', '.join(plan.output_names)}"
            return None
        return plan

    def _states(self, key: str, solve: Callable[[], States]) -> States:
        return cached(self.cache / "states" / f"{key}-{self.count}.npy", solve)

    def _fine(self, end: float) -> States:
        plan = self.problem.fine_plan(self.fine_steps, end=end)
        return self._states(self.problem.key(plan), lambda: self.problem.solve(plan, self.ids))

    def _cell(self, library: str, solver: str, grid: str, nfe: int, states: States, end: float) -> Cell:
        error = states.astype(np.float64) - self._fine(end).astype(np.float64)
        ends_at = "zero" if end == self.problem.schedule.t_zero else "t_end"
        return Cell(library, solver, grid, ends_at, nfe, float(np.sqrt(np.mean(error**2))))
