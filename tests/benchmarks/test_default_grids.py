"""The registry's default grids and orders follow from the quality benchmark's table."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

import genie_samplers as gs
from genie_samplers.solvers.registry import Solver, find

IMAGES = Path(__file__).parents[2] / "docs" / "images"
NEAR = 1.05  # of the best: grids change at few numbers of evaluations, and forty latents are a sample

Cells = dict[str, dict[str, dict[int, float]]]  # RMSE by solver, grid and evaluations


def measured(table: str) -> Cells:
    cells: Cells = defaultdict(lambda: defaultdict(dict))
    with open(IMAGES / table, newline="") as file:
        for row in csv.DictReader(file):
            if row["library"] == "genie-ext":
                cells[row["solver"]][row["grid"]][int(row["nfe"])] = float(row["rmse"])
    return cells


CELLS, OTHER_LATENTS = measured("quality.csv"), measured("quality_seed1.csv")
NFES = sorted(CELLS["ddim"]["karras"])
by_evaluations = [s for s in gs.SOLVERS.values() if s.name in CELLS and s.budget(10).grid is not None]
of_one_grid = [s for s in gs.SOLVERS.values() if s.name in CELLS and s.budget(10).grid is None]


@pytest.mark.parametrize("solver", of_one_grid, ids=lambda s: s.name)
def test_the_default_grid_has_the_least_geometric_mean_of_the_error(solver: Solver) -> None:
    means = {grid: np.mean(np.log(list(errors.values()))) for grid, errors in CELLS[solver.name].items()}
    assert solver.default_grid == min(means, key=means.__getitem__)


@pytest.mark.parametrize("nfe", NFES)
@pytest.mark.parametrize("solver", by_evaluations, ids=lambda s: s.name)
def test_a_family_takes_the_best_grid_of_all_latents(solver: Solver, nfe: int) -> None:
    grids = CELLS[solver.name]
    pooled = {g: np.hypot(grids[g][nfe], OTHER_LATENTS[solver.name][g][nfe]) for g in grids}
    assert pooled[str(solver.budget(nfe).grid)] <= NEAR * min(pooled.values())


WITH_HEAD = {2: "genie_hermite3, head", 3: "genie_hermite of 3 values, head"}


def head_cells() -> dict[tuple[str, int], tuple[str, float]]:
    """(method, evaluations) -> the grid chosen on other latents, and the RMSE there."""
    with open(IMAGES / "genie.csv", newline="") as file:
        return {(row["solver"], int(row["nfe"])): (row["grid"], float(row["rmse"])) for row in csv.DictReader(file)}


@pytest.mark.parametrize("nfe", [5, 8, 10, 15, 20])
def test_the_family_with_a_head_takes_the_best_degree_on_its_best_grid(nfe: int) -> None:
    cells, budget = head_cells(), find("genie_hermite").budget(nfe)
    grid, error = cells[WITH_HEAD[budget.options["values"]], nfe]  # type: ignore[index]
    assert budget.grid == grid
    assert error <= NEAR * min(cells[name, nfe][1] for name in WITH_HEAD.values())
