"""Noise filters of files, in the plan that `sample` runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..plan import Plan, filtered
from ..solvers.make import AUTO_NAME
from ..solvers.registry import find, option_names
from ..tdas import FilterSpec, NoiseGains, operators, read_filters
from .network import Chosen

__all__ = ["MODES", "filter_options", "with_filter"]

MODES = ("tdas", "pds")
_NAME = "filter"


def filter_options(solver: str, path: Path | None, mode: str) -> dict[str, object]:
    """Of make_plan, for a solver that filters by itself; ValueError for a mode that it lacks.

    Gains are of each draw, and no solver knows them: :func:`with_filter` brings them into the finished plan.
    """
    knows = solver != AUTO_NAME and "filter" in option_names(find(solver))
    if path is None:
        if mode != "tdas":
            raise ValueError(f"--filter-mode {mode}: of a filter; give --filter, too")
        return {}
    if mode != "tdas" and not knows:
        raise ValueError(f"--filter-mode {mode}: of predictor_corrector and annealed_langevin, not of {solver}")
    if not knows:
        return {}
    if isinstance(read_filters(path), FilterSpec):
        return {"filter": mode}
    if mode != "tdas":
        raise ValueError(f"--filter-mode {mode}: of a filter, and {path} holds gains; leave it out")
    return {}


def with_filter(plan: Plan, path: Path | None, chosen: Chosen) -> tuple[Plan, Mapping[str, Any]]:
    """The plan with its noise through the filter or the gains of this file, and the operators that it needs.

    ValueError where they do not fit the network's samples or the plan's draws, and for a plan without noise.
    """
    if path is None:
        return plan, {}
    found = read_filters(path)
    if not plan.stochastic:
        raise ValueError(f"--filter {path}: the plan draws no noise; take a stochastic solver, such as ddpm")
    if isinstance(found, NoiseGains):
        found.check_fits(chosen.shape(1), plan)
    else:
        found.check_fits(chosen.shape(1))
    if not plan.operators:
        plan = filtered(plan, _NAME, start=isinstance(found, FilterSpec), by_draw=isinstance(found, NoiseGains))
    known = operators(found, name=_NAME, adjoint=True)
    return plan, {name: known[name] for name in plan.operators if name in known}
