"""A noise filter of ``calibrate tdas`` in a run: the plan that applies it, and the operators that it names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..plan import Plan, filtered
from ..solvers.registry import find
from ..tdas import FilterOperator, FilterSpec, operators
from .network import Chosen

__all__ = ["MODES", "NoiseFilter"]

MODES = ("tdas", "pds")


class NoiseFilter:
    """What --filter and --filter-mode say; ValueError for a filter of other samples, and a mode that the solver lacks."""

    def __init__(self, path: Path, mode: str, solver: str, chosen: Chosen) -> None:
        self.spec, self.mode = FilterSpec.load(path), mode
        self.within = solver != "auto" and find(solver).langevin  # whether the filter is an option of the solver
        if mode == "pds" and not self.within:
            raise ValueError(f"--filter-mode pds: of predictor_corrector and annealed_langevin, not of {solver}")
        try:
            self.spec.check_fits(chosen.shape(1))
        except ValueError as error:
            raise ValueError(f"--filter {path}: {error}") from error

    @property
    def options(self) -> Mapping[str, object]:
        """Of make_plan."""
        return {"filter": self.mode} if self.within else {}

    @property
    def operators(self) -> Mapping[str, FilterOperator]:
        """Of sample."""
        return operators(self.spec, adjoint=self.mode == "pds")

    def applied(self, plan: Plan) -> Plan:
        """The plan with its noise through the filter; ValueError for one that draws none."""
        if self.within:
            return plan
        if not any(row.draws for row in plan.rows):
            raise ValueError("--filter: the plan draws no noise to be filtered; take a stochastic solver, as ddpm")
        return filtered(plan, "filter")
