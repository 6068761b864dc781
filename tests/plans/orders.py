"""The measured order of every deterministic solver: python -m tests.plans.orders > docs/orders.md

The slope is log2 of the ratio of two errors, at N and at 2 N steps, of float64 plans on mixture data of known flow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from genie_samplers import Plan, grids
from genie_samplers.schedules import Schedule
from genie_samplers.solvers import registry

from .oracle import Array, execute
from .plans import TABLES
from .problems import GOLDEN_MIXTURE, VP, X_T, network_of
from .weak_orders import weak_table

__all__ = ["CASES", "OPTIONAL", "Case", "case_of", "deterministic", "error", "slope"]


@dataclass(frozen=True)
class Case:
    """Where a slope is measured, and why not on the default grid and numbers of steps.

    dropped: the last steps left out, where a solver lowers its order. exact: states behind the history lie on the flow.
    """

    grid: str = "quadratic_t"
    steps: tuple[int, int] = (128, 256)
    dropped: int = 0
    exact: bool = True
    options: Mapping[str, object] = field(default_factory=dict)
    why: str = ""


TAB3 = Case("log_snr", (256, 512), why="on quadratic_t the slope nears 4 from 512 steps on only")
LATE = Case(steps=(256, 512), why="the slope nears 4 late")
UNIPC3 = Case(steps=(256, 512), dropped=2, why="before the last two steps, of orders 2 and 1 (its own end: below)")
EXACT = Case(options={"derivative": "exact"}, why="derivatives are exact")
CASES: dict[str, Case] = {
    **dict.fromkeys(("deis_tab3", "deis_tab"), TAB3),
    **dict.fromkeys(("deis_rho_ab3", "deis_log_ab3", "deis_log_ab"), LATE),
    "flow_ab3": Case(steps=(256, 512), why="the slope nears 3 late"),
    "flow_ab4": LATE,
    "deis_rho_rk4": Case(steps=(64, 128), why="rounding is near beyond"),
    "unipc2": Case(dropped=1, why="before the last step, which has order 1 (its own end: below)"),
    **dict.fromkeys(("unipc3", "unipc"), UNIPC3),
    **dict.fromkeys(("genie_ttm2", "genie_hermite3", "genie_hermite4", "genie_hermite"), EXACT),
}

OPTIONAL: dict[tuple[str, str], tuple[Case, float]] = {
    ("dpmpp_3m", "variant published"): (Case(steps=(512, 1024), options={"variant": "published"}), 2.0),
    ("dpmpp_3m", "variant exact"): (Case(steps=(512, 1024), options={"variant": "exact"}), 3.0),
    ("dpmpp_2m", "variant published"): (Case(options={"variant": "published"}), 2.0),
    ("dpmpp_2m", "variant exact"): (Case(options={"variant": "exact"}), 2.0),
    ("unipc2", "variant bh1"): (Case(dropped=1, options={"variant": "bh1"}), 3.0),
    ("unipc3", "variant bh1"): (Case(dropped=2, options={"variant": "bh1"}), 4.0),
    ("unipc2", "to its own end"): (Case(steps=(256, 512)), 2.0),
    ("unipc3", "to its own end"): (Case(steps=(256, 512)), 2.0),
}
"""Options and ends whose order is not the registered one: where it is measured, and what it is."""


FAMILIES = ("deis_tab", "deis_log_ab", "ipndm", "unipc", "dpmpp")  # measured at the last of their choices


def deterministic() -> list[str]:
    return [name for name, solver in TABLES.items() if not solver.stochastic]


def case_of(name: str) -> Case:
    return CASES.get(name, Case())


def slope(name: str, case: Case, way: int = 1, schedule: Schedule = VP) -> float:
    """way: 1 to sample, -1 to encode."""
    coarse, fine = (error(name, case, schedule, grids.GRIDS[case.grid](schedule, n)[::way]) for n in case.steps)
    return float(np.log2(coarse / fine))


def error(name: str, case: Case, schedule: Schedule, times: Array) -> float:
    """Largest over five starts, at the end of the grid less ``case.dropped`` steps."""
    solver = TABLES[name]
    chosen = solver.choices[-1] if name in FAMILIES else {}
    plan = registry.rebuild(name, schedule, times, {**chosen, **solver.options, **case.options})
    known = _states_before_full_history(plan) if case.exact else 0

    def replace(row: int, x: Array) -> Array:
        return _flow(schedule, times[0], times[row + 1]) if row < known else x

    end = len(times) - 1 - case.dropped
    state = -1 if case.dropped == 0 else end  # the row of a step, where there is one per step
    reached = execute(plan, X_T, network_of(plan, GOLDEN_MIXTURE, schedule), replace=replace)[state]
    return float(np.abs(reached - _flow(schedule, times[0], times[end])).max())


def _states_before_full_history(plan: Plan) -> int:
    """How many rows run with less than their full memory; none in a plan of stages, which makes its own start.

    UniPC's states are the predicted ones, which its rows correct by outputs alone: they lie on the flow, too, and the
    first correction left adds one local error of the predictor, of the order of the global error.
    """
    if any(row.reads_aux for row in plan.layout):
        return 0
    history = [len(row.history) for row in plan.rows]
    return history.index(max(history))


@cache
def _flow(schedule: Schedule, t: float, t_end: float) -> Array:
    return GOLDEN_MIXTURE.flow(schedule, X_T, t, t_end)


@cache
def measured(name: str, way: int) -> float:
    return slope(name, case_of(name), way)


@cache
def measured_option(name: str, option: str) -> float:
    return slope(name, OPTIONAL[name, option][0])


def _document() -> Iterator[str]:
    yield "# Measured orders\n"
    yield "Written by `python -m tests.plans.orders`; `tests/plans/test_orders.py` holds the numbers to their claims.\n"
    yield "Slope: log2 of the ratio of the largest errors of five starts at N and 2 N steps, in float64, against the"
    yield "exact probability flow of a mixture; `vp_linear`, `quadratic_t`, N = 128 unless said otherwise. A family has"
    yield "the order of the highest of its choices."
    yield "The states behind a multistep history are put on the flow: a warm-up has an order of its own.\n"
    yield "| solver | claim | sampling | encoding | where |"
    yield "|---|---|---|---|---|"
    for name in deterministic():
        case = case_of(name)
        where = f"{case.grid}, N = {case.steps[0]}: {case.why}" if case.why else ""
        claim = TABLES[name].order
        yield f"| {name} | {claim} | {measured(name, 1):.2f} | {measured(name, -1):.2f} | {where} |"
    yield "\n## Options and ends\n"
    yield "The published DPM-Solver++(3M) halves the second difference of its interpolant, which leaves order 2."
    yield "UniPC lowers its order in the last steps; what that leaves behind shows at the end.\n"
    yield "| solver | option | order | sampling | where |"
    yield "|---|---|---|---|---|"
    for (name, option), (case, order) in OPTIONAL.items():
        where = f"{case.grid}, N = {case.steps[0]}" + (f", {case.dropped} steps before the end" if case.dropped else "")
        yield f"| {name} | {option} | {order:.0f} | {measured_option(name, option):.2f} | {where} |"
    yield from weak_table()


if __name__ == "__main__":
    print("\n".join(_document()))
