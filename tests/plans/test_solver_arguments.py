"""Bad arguments of make_plan and of every solver: refused by name, value and fix."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import genie_samplers as gs
from genie_samplers import Plan, solvers
from genie_samplers.solvers import registry
from genie_samplers.solvers.registry import Solver

from .plans import TABLES
from .problems import GOLDEN_GRID, VP

every_solver = pytest.mark.parametrize("solver", TABLES.values(), ids=TABLES.keys())


@every_solver
@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([1.0, 0.5, 0.5], r"times\[2\]=0.5 after 0.5: give times that all fall"),
        ([1.0, 0.4, 0.5], r"times\[2\]=0.5 after 0.4: give times that all fall"),
        ([1.0], r"times has shape \(1,\): give 2 or more"),
        ([[1.0, 0.5]], r"times has shape \(1, 2\): give 2 or more times in 1-D"),
        ([1.5, 0.5], r"t=1.5 is outside \[0.0, 1.0\]: take times from a grid"),
        ([1.0, float("nan")], r"t=nan is outside \[0.0, 1.0\]: take times"),
    ],
)
def test_a_grid_is_strictly_monotone_within_the_schedule(solver: Solver, times: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        solver.build(VP, times, **solver.options)


@every_solver
def test_an_unknown_prediction_is_refused(solver: Solver) -> None:
    with pytest.raises(ValueError, match=r"prediction='noise'; choose one of epsilon"):
        gs.make_plan(solver.name, VP, 9, prediction="noise")


RISING = [1e-3, 0.5, 1.0]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: solvers.ddim(VP, GOLDEN_GRID, eta=-0.1), "eta=-0.1; need a finite number >= 0"),
        (lambda: solvers.ddim(VP, GOLDEN_GRID, eta=np.inf), "eta=inf; need a finite number >= 0"),
        (lambda: solvers.ddim(VP, GOLDEN_GRID, eta=np.nan), "eta=nan; need a finite number >= 0"),
        (
            lambda: solvers.ddim(VP, GOLDEN_GRID, eta=1.5),
            "eta=1.5 asks for more noise than .*; use eta <= 1",
        ),
        (lambda: solvers.ddim(VP, RISING, eta=0.5), "eta=0.5 on a rising grid; .*use eta=0"),
        (lambda: solvers.deis_tab(VP, GOLDEN_GRID, order=4), "order=4; choose one of 0, 1, 2, 3"),
        (
            lambda: solvers.edm_heun(VP, GOLDEN_GRID, s_churn=1.0, churn_steps=0),
            "churn_steps=0: give 1 or more",
        ),
        (
            lambda: solvers.edm_heun(VP, GOLDEN_GRID, s_churn=-1.0),
            "s_churn=-1.0, .*need s_churn >= 0",
        ),
        (lambda: solvers.edm_heun(VP, GOLDEN_GRID, s_churn=np.inf), "s_churn=inf, .*both finite"),
        (lambda: solvers.edm_heun(VP, GOLDEN_GRID, s_noise=0.0), "s_noise=0.0; need .*s_noise > 0"),
        (
            lambda: solvers.edm_heun(VP, GOLDEN_GRID, s_min=2.0, s_max=1.0),
            "s_min=2.0, s_max=1.0; need 0 <= s_min <= s_max",
        ),
        (lambda: solvers.edm_heun(VP, GOLDEN_GRID, s_min=-2.0), "s_min=-2.0, .*need 0 <= s_min"),
        (
            lambda: solvers.edm_heun(VP, RISING, s_churn=1.0),
            "s_churn=1.0 on a rising grid; .*use s_churn=0",
        ),
        (
            lambda: gs.make_plan("dimm", VP, 9),
            "solver='dimm'; did you mean ddim or gddim[?] All: analytic_ddim, analytic_ddpm, annealed_langevin, ddim, ",
        ),
        (lambda: gs.make_plan("ddim", VP, 9, grid="cubic"), "grid='cubic'; choose one of .*karras"),
        (
            lambda: gs.make_plan("ddim", VP, 9, direction="up"),
            "direction='up'; choose one of sample, encode",
        ),
        (lambda: gs.make_plan("ddim", VP, 0), "nfe=0: give 1 or more"),
        (lambda: gs.make_plan("ddim", VP, -3), "nfe=-3: give 1 or more"),
        (
            lambda: gs.make_plan("edm_heun", VP, 6),
            "nfe=6; edm_heun makes 5 evaluations on this grid: ask for that number",
        ),
    ],
)
def test_bad_options_are_refused_with_their_fix(build: Callable[[], Plan], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize("nfe", [True, 2.0, "3"])
def test_nfe_is_an_integer(nfe: Any) -> None:
    with pytest.raises(TypeError, match=f"nfe={nfe!r}: give an integer"):
        gs.make_plan("ddim", VP, nfe)


def test_a_numpy_integer_is_an_integer() -> None:
    nfe, order = np.array([5, 2])
    assert gs.make_plan("ddim", VP, nfe) == gs.make_plan("ddim", VP, 5)
    assert solvers.deis_tab(VP, GOLDEN_GRID, order=order) == solvers.deis_tab(VP, GOLDEN_GRID, order=2)


@pytest.mark.parametrize(
    ("build", "option", "value", "need"),
    [
        (solvers.ddim, "eta", "1", "a real number"),
        (solvers.ddim, "eta", None, "a real number"),
        (solvers.deis_tab, "order", 2.0, "an integer"),
        (solvers.deis_tab, "order", True, "an integer"),
        (solvers.dpmpp, "lower_order_final", "no", "True or False"),
        (solvers.dpmpp, "lower_order_final", 1, "True or False"),
        (solvers.edm_heun, "s_churn", "a", "a real number"),
        (solvers.edm_heun, "s_min", True, "a real number"),
        (solvers.edm_heun, "s_max", "80", "a real number"),
        (solvers.edm_heun, "s_noise", [1.0], "a real number"),
        (solvers.edm_heun, "churn_steps", 4.0, "an integer"),
    ],
)
def test_options_of_the_wrong_type_are_refused(build: Any, option: str, value: Any, need: str) -> None:
    with pytest.raises(TypeError, match=re.escape(f"{option}={value!r}: give {need}")):
        build(VP, GOLDEN_GRID, **{option: value})


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"name": ["ddim"]}, ValueError, r"solver=\['ddim'\]; choose one of"),
        ({"schedule": "vp"}, TypeError, "schedule='vp': give a Schedule"),
        ({"grid": ""}, ValueError, "grid=''; choose one of"),
        ({"grid": [1.0, 0.5]}, ValueError, r"grid=\[1.0, 0.5\]; choose one of .*or give times= or sigmas="),
        ({"options": ["order"]}, TypeError, r"options=\['order'\]: give a mapping"),
        ({"options": {"eta": 1.0}}, ValueError, r"options: deis_tab3 has no 'eta'; choose from \['order'"),
        ({"options": {"order": 1}}, ValueError, "order=1, but deis_tab3 means order=3; choose another solver"),
        ({"options": {"prediction": "v"}}, ValueError, r"pass make_plan\(..., prediction=...\)"),
    ],
)
def test_arguments_of_make_plan_are_checked(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        gs.make_plan(**({"name": "deis_tab3", "schedule": VP, "nfe": 5} | arguments))


def test_an_option_may_repeat_what_the_registry_fixes() -> None:
    assert gs.make_plan("deis_tab3", VP, 5, options={"order": 3}) == gs.make_plan("deis_tab3", VP, 5)


def test_only_a_number_of_evaluations_out_of_reach_is_unreachable() -> None:
    with pytest.raises(registry.UnreachableNFE):
        gs.make_plan("edm_heun", VP, 6)


def test_a_name_is_registered_once() -> None:
    with pytest.raises(ValueError, match="solver 'ddim' is registered twice"):
        registry.register(TABLES["ddim"])
