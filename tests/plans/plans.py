"""Plans for the tests of this folder: small ones by hand, one of every solver."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import pytest

import genie_samplers as gs
from genie_samplers.plan import Combination, Conversion, HistoryEntry, Init, Plan, Recipe, Row

SCHEDULE = gs.schedules.vp_linear()
NFE = 13  # with a last step to gamma = 0 the one number that every solver of order-1 ends can make
NFE_OF = {"flow_midpoint": 14, "flow_rk4": 15}  # whose last step costs 2 and 3

unfit_too = pytest.mark.filterwarnings("ignore::genie_samplers.UnfitWarning")
"""For tests of plans, whatever samples they would make, of every solver with few evaluations."""

TABLES = {name: solver for name, solver in gs.SOLVERS.items() if not solver.langevin}
"""The solvers whose plans are tables alone: what is said of paths, orders and coefficients is said of them."""

every_solver = pytest.mark.parametrize("name", sorted(TABLES))

EPSILON = Conversion(0.0, (1.0,))
EULER = Combination(x=1.0, y=(-0.5,))
ROW = Row(1.0, EULER, converted=(EPSILON,))
TWO = Combination(x=1.0, y=(1.0, 1.0))
AB2 = Row(0.5, Combination(x=1.0, y=(-1.5,), history=(0.5,)), converted=(EPSILON,), history=(HistoryEntry(0),))


def with_row(**changes: Any) -> Row:
    """``ROW`` with other fields."""
    return dataclasses.replace(ROW, **changes)


def plan_of(*rows: Row, **fields: Any) -> Plan:
    defaults: dict[str, Any] = {"init": Init(1.0), "outputs": ("epsilon",), "quantity": "epsilon"}
    return Plan(rows=rows, **(defaults | fields))


def recipe_of(plan: Plan) -> Recipe:
    if plan.recipe is None:
        raise AssertionError("the plan has no recipe")
    return plan.recipe


def nfe_of(name: str) -> int:
    """A number of evaluations that the solver makes with a last step to gamma = 0."""
    return NFE_OF.get(name, NFE)


def solver_plan(name: str, nfe: int | None = None, **options: object) -> Plan:
    """Also of a solver that makes no samples with so few evaluations: what is tested here is the plan."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gs.UnfitWarning)
        return gs.make_plan(name, SCHEDULE, nfe or nfe_of(name), denoise=True, options=options)


CHURNED = solver_plan("edm_heun", s_churn=3.0)
NOISY = solver_plan("ddim", eta=0.7)
VARIANTS = [*(solver_plan(name) for name in sorted(TABLES)), CHURNED, NOISY]
VARIANT_IDS = [*sorted(TABLES), "edm_heun-churn", "ddim-eta"]
every_variant = pytest.mark.parametrize("plan", VARIANTS, ids=VARIANT_IDS)
