"""What "auto" chooses for vp_linear, beside what the quality benchmark measured on the embedded network."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

import genie_samplers as gs
from genie_samplers.solvers.choosing import AUTO, Candidate, Options, fitting_grids, ranked
from genie_samplers.solvers.registry import find

TABLE = Path(__file__).parents[2] / "docs" / "images" / "quality.csv"
WORST = 1.5  # of the best cell; with four evaluations the choice is DDIM, 1.9 times the best

with open(TABLE, newline="") as file:
    MEASURED = {
        (row["solver"], row["grid"], int(row["nfe"])): float(row["rmse"])
        for row in csv.DictReader(file)
        if row["library"] == "genie-ext" and row["end"] == "t_end"
    }
GRIDS = ("uniform_t", "quadratic_t", "karras", "log_snr")
# the candidates that were measured, with their published options
KNOWN = tuple(
    Candidate(name, Options(find(name).options))
    for name, options in AUTO
    if not options and (name, "karras", 10) in MEASURED
)


@pytest.mark.parametrize("nfe", sorted({nfe for _, _, nfe in MEASURED} - {4}))
def test_the_best_score_is_near_the_best_measured_cell(nfe: int) -> None:
    schedule = gs.schedules.vp_linear()
    best, *_ = ranked(KNOWN, schedule, nfe, fitting_grids(schedule, denoise=False))
    least = min(MEASURED[c.solver, grid, nfe] for c in KNOWN for grid in GRIDS)
    assert MEASURED[best.solver, best.grid, nfe] <= WORST * least
