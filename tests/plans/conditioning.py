"""What rounding to float32 costs a plan: python -m tests.plans.conditioning > docs/conditioning.md

On data N(0, 1/4), whose network is linear and known, the states of a plan are run in float32 and in float64. A rounding
of a row, half a unit in the last place of a term |coefficient * value|, is carried to the end by the rows that follow:
the sum of these terms over the rows is what the error is measured in.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import genie_samplers as gs
from genie_samplers import Plan
from genie_samplers.schedules import Schedule
from genie_samplers.solvers.registry import UnreachableNFE

from .problems import ZERO_SNR, prediction_of

__all__ = ["NFE", "PREDICTIONS", "SCHEDULES", "Cost", "cost", "one_row_per_step", "plan_of"]

Array = NDArray[Any]  # float32 or float64

NFE = 20
SCALE = 0.5  # of the data
PREDICTIONS = ("epsilon", "x0", "v", "flow")
SCHEDULES: dict[str, Schedule] = {
    "vp_linear": gs.schedules.vp_linear(),
    "vp_cosine": gs.schedules.vp_cosine(),
    "sub_vp": gs.schedules.sub_vp(),
    "ve": gs.schedules.ve(),
    "edm": gs.schedules.edm(),
    "flow": gs.schedules.flow(),
    "flow-shift3": gs.schedules.flow(shift=3.0),
    "flow-shift12": gs.schedules.flow(shift=12.0),
    "squaredcos": gs.schedules.from_betas(gs.schedules.squaredcos_betas()),
    "scaled_linear": gs.schedules.from_betas(gs.schedules.scaled_linear_betas()),
    "zero_snr": ZERO_SNR,
}


class Cost(NamedTuple):
    """At the end of a plan. error: float32 less float64. terms: sum of |coefficient * value|, carried. size: of x.

    roundings: at most so many of a term's half units in the last place.
    """

    error: float
    terms: float
    size: float
    roundings: int


def plan_of(solver: str, schedule: Schedule, prediction: str, nfe: int = NFE) -> Plan:
    """``nfe`` evaluations, or as many as the solver says, on the schedule's own grid or equal steps in t."""
    grid = schedule.preferred_grid or "uniform_t"
    try:
        return gs.make_plan(solver, schedule, nfe, grid=grid, prediction=prediction)
    except UnreachableNFE as error:
        known = int(str(error).split(" makes ")[1].split()[0])
        return gs.make_plan(solver, schedule, known, grid=grid, prediction=prediction)


def one_row_per_step(plan: Plan) -> bool:
    return all(row.aux is None and len(row.converted) - (row.x0 is not None) == 1 for row in plan.rows)


def cost(plan: Plan, seed: int = 0) -> Cost:
    """Of states of 64 elements, from the plan's own noise."""
    rng = np.random.default_rng(seed)
    start = plan.init.scale * rng.standard_normal(64)
    draws = [rng.standard_normal(64).astype(np.float32) for row in plan.rows for _ in row.draws]
    start = start.astype(np.float32)
    exact, made = _Run(plan, np.float64), _Run(plan, np.float32)
    exact.x, made.x = start.astype(np.float64), start
    terms = [exact.step(row, exact.x, draws) for row in range(len(plan.rows))]
    for row in range(len(plan.rows)):
        made.step(row, made.x, draws)
    total = sum(gain * float(term.max()) for gain, term in zip(_carried(plan), terms, strict=True))
    size = max(float(np.abs(exact.x).max()), SCALE)
    columns = max(layout.columns for layout in plan.layout)
    return Cost(float(np.abs(made.x.astype(np.float64) - exact.x).max()), total, size, columns + 4)


class _Run:
    """The rows in one dtype, the network's answer exact of the state that it is given."""

    def __init__(self, plan: Plan, dtype: type) -> None:
        self.plan, self.dtype = plan, dtype
        self.x = self.aux = np.zeros(64, dtype)
        self.values: dict[tuple[int, int], Array] = {}
        self.inner: dict[tuple[int, int], Array] = {}  # |p x| + sum |q output| of a value

    def step(self, number: int, x: Array, draws: list[Array]) -> Array:
        """Runs a row on x; the sum of its |coefficient * value|, conversions included, of every element."""
        row, of = self.plan.rows[number], self.dtype
        self.x = x
        outputs = [output.astype(of) for output in network(self.plan, row.time, x.astype(np.float64))]
        magnitudes = np.zeros(len(x))
        for h, conversion in enumerate(row.converted):
            weights = [conversion.p, *conversion.q]
            y, total = _sum(weights, [x, *outputs], of)
            self.values[number, h], self.inner[number, h] = y, total
            magnitudes += abs(row.x.y[h]) * total
        history = [self.values[entry.row, entry.h] for entry in row.history]
        for weight, entry in zip(row.x.history, row.history, strict=True):
            magnitudes += abs(weight) * self.inner[entry.row, entry.h]
        converted = [self.values[number, h] for h in range(len(row.converted))]
        known = [x, self.aux, *converted, *history, *(draws[d].astype(of) for d in row.draws)]
        new, total = _sum(row.x.flat(with_aux=True), known, of)
        if row.aux is not None:
            self.aux = _sum(row.aux.flat(with_aux=True), known, of)[0]
        self.x = new
        return magnitudes + total


def _sum(weights: object, values: list[Array], dtype: type) -> tuple[Array, Array]:
    total, magnitudes = np.zeros(len(values[0]), dtype), np.zeros(len(values[0]))
    for weight, value in zip(weights, values, strict=False):  # type: ignore[call-overload]
        if weight != 0.0:
            term = dtype(weight) * value
            total, magnitudes = total + term, magnitudes + np.abs(term).astype(np.float64)
    return total, magnitudes


def network(plan: Plan, t: float, x: Array) -> list[Array]:
    """The exact prediction of data N(0, SCALE^2), and its derivatives along the flow, where they are asked for."""
    schedule = plan.schedule
    alpha, sigma = float(schedule.alpha(t)), float(schedule.sigma(t))
    variance = (alpha * SCALE) ** 2 + sigma**2
    x0, epsilon = alpha * SCALE**2 / variance * x, sigma / variance * x
    first = (alpha * SCALE) ** 2 * sigma / variance**2 * x
    second = -3.0 * (alpha * SCALE) ** 2 * sigma**3 / variance**3 * x
    further = {"gamma_d_epsilon": first, "gamma2_d2_epsilon": second}
    others = [further.get(name, 0.0 * x) for name in plan.outputs[1:]]
    return [prediction_of(plan.outputs[0], schedule, t, x0, epsilon), *others]


def _carried(plan: Plan) -> Array:
    """How much of a change of each row's result is left at the end, [rows]."""
    run = _Run(plan, np.float64)
    run.x = run.aux = np.zeros(len(plan.rows))
    draws = [np.zeros(len(plan.rows))] * sum(len(row.draws) for row in plan.rows)
    for row in range(len(plan.rows)):
        run.step(row, run.x, draws)
        run.x = run.x + np.eye(len(plan.rows))[row]
    return np.abs(run.x)


def document() -> Iterator[str]:
    yield "| schedule | solver | prediction | error / size | terms / size |"
    yield "|---|---|---|---|---|"
    for name, schedule in SCHEDULES.items():
        for prediction in PREDICTIONS:
            if prediction == "epsilon" and schedule.starts_in_pure_noise:
                continue
            plans = {
                solver: plan_of(solver, schedule, prediction) for solver in ("ddim", "deis_tab2", "ipndm3", "unipc2")
            }
            found = {solver: cost(plan) for solver, plan in plans.items()}
            worst = max(found, key=lambda solver: found[solver].error / found[solver].size)
            of = found[worst]
            yield f"| {name} | {worst} | {prediction} | {of.error / of.size:.1e} | {of.terms / of.size:.3g} |"


if __name__ == "__main__":
    print("\n".join(document()))
