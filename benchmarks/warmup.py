"""python -m benchmarks.warmup [--out docs/images/warmup.csv]

What the start of a DEIS plan costs: the same solver at the same number of evaluations with every ``warmup``. Errors
against the exact flow of a mixture (largest of five starts), and on the embedded network against deis_tab3 with 200
Karras steps (RMSE over 20 latents, about ten minutes on one thread). Writes a CSV and prints it as tables.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

import genie_samplers as gs
from genie_samplers import grids
from genie_samplers.plan import Plan
from tests.plans.oracle import execute
from tests.plans.problems import GOLDEN_MIXTURE, X_T, network_of

from .quality.problem import Problem, embedded_problem
from .quality.store import DEFAULT_CACHE, cached

__all__ = ["WARMUPS", "Row", "main", "markdown", "mixture_rows", "network_rows"]

WARMUPS = ("lower_order", "gradual", "corrected")
_LINEAR, _COSINE = gs.schedules.vp_linear(), gs.schedules.vp_cosine()
_CASES = (
    ("mixture, vp_linear", _LINEAR, "quadratic_t"),
    ("mixture, vp_linear", _LINEAR, "karras"),
    ("mixture, vp_cosine", _COSINE, "quadratic_t"),
)
_MIXTURE_SOLVERS = ("deis_tab2", "deis_tab3", "deis_rho_ab3", "deis_log_ab3")
_NETWORK_SOLVERS = ("deis_tab1", "deis_tab2", "deis_tab3", "deis_rho_ab3", "deis_log_ab2", "deis_log_ab3")
_COUNT, _FINE_STEPS = 20, 200


class Row(NamedTuple):
    problem: str
    grid: str
    solver: str
    nfe: int
    warmup: str
    error: float


def mixture_rows(nfes: Sequence[int] = (8, 16, 32, 64)) -> Iterator[Row]:
    for (problem, schedule, grid), solver, nfe in itertools.product(_CASES, _MIXTURE_SOLVERS, nfes):
        times = grids.GRIDS[grid](schedule, nfe)
        exact = GOLDEN_MIXTURE.flow(schedule, X_T, times[0], times[-1])
        for warmup in WARMUPS:
            plan = _plan(solver, schedule, nfe, grid, warmup)
            reached = execute(plan, X_T, network_of(plan, GOLDEN_MIXTURE, schedule))[-1]
            yield Row(problem, grid, solver, nfe, warmup, float(np.abs(reached - exact).max()))


def network_rows(problem: Problem, cache: Path, nfes: Sequence[int] = (5, 8, 10, 15, 20)) -> Iterator[Row]:
    fine = _states(problem, problem.fine_plan(_FINE_STEPS), cache)
    for grid, solver, nfe, warmup in itertools.product(("karras", "uniform_t"), _NETWORK_SOLVERS, nfes, WARMUPS):
        error = _states(problem, _plan(solver, problem.schedule, nfe, grid, warmup), cache) - fine
        yield Row("embedded network", grid, solver, nfe, warmup, float(np.sqrt(np.mean(error**2))))


def _plan(solver: str, schedule: gs.schedules.Schedule, nfe: int, grid: str, warmup: str) -> Plan:
    return gs.make_plan(solver, schedule, nfe, grid=grid, options={"warmup": warmup})


def _states(problem: Problem, plan: Plan, cache: Path) -> NDArray[np.float64]:
    path = cache / "states" / f"{problem.key(plan)}-{_COUNT}.npy"
    return cached(path, lambda: problem.solve(plan, range(_COUNT))).astype(np.float64)


def markdown(rows: Sequence[Row]) -> str:
    """One table per problem and grid; a cell holds the errors of all warm-ups, the least of them in bold."""
    tables = itertools.groupby(rows, key=lambda row: (row.problem, row.grid))
    return "\n\n".join(_table(f"{problem}, {grid}", list(own)) for (problem, grid), own in tables)


def _table(title: str, rows: list[Row]) -> str:
    nfes = sorted({row.nfe for row in rows})
    lines = [
        f"{title}: {' / '.join(WARMUPS)}\n",
        f"| solver | {' | '.join(map(str, nfes))} |",
        "|---" * (len(nfes) + 1) + "|",
    ]
    for solver, own in itertools.groupby(rows, key=lambda row: row.solver):
        cells = itertools.groupby(own, key=lambda row: row.nfe)
        lines.append(f"| {solver} | {' | '.join(_cell([row.error for row in cell]) for _, cell in cells)} |")
    return "\n".join(lines)


def _cell(errors: list[float]) -> str:
    return " / ".join(f"**{error:.2g}**" if error == min(errors) else f"{error:.2g}" for error in errors)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.warmup", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/images/warmup.csv"))
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE)
    parser.add_argument("--mixture-only", action="store_true")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows = list(mixture_rows())
    if not options.mixture_only:
        rows += network_rows(embedded_problem(), options.cache)
    with open(options.out, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Row._fields)
        writer.writerows((*row[:-1], f"{row.error:.4g}") for row in rows)
    print(markdown(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
