"""The GENIE benchmarks on the embedded network, as small as they get."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from benchmarks.quality import genie
from genie_samplers.schedules import vp_linear
from genie_samplers.solvers.make import make_plan

pytest.importorskip("diffusers", reason="the embedded network is a diffusers UNet2DModel")


def test_the_table_has_every_solver_with_its_cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(genie, "GRIDS", ("karras",))
    monkeypatch.setattr(genie, "PLAIN", ("ddim", "ipndm"))
    arguments = ["--out", tmp_path, "--cache", tmp_path / "cache", "--count", 1, "--nfe", 4, "--rounds", 1, "--fine", 8]
    genie.main([str(a) for a in arguments])
    with open(tmp_path / "genie.csv", newline="") as file:
        lines = {line["solver"]: line for line in csv.DictReader(file) if line["library"] == "genie-ext"}
    assert list(lines) == [
        "ddim", "ipndm", "genie_ttm2, exact", "genie_hermite3, exact", "genie_ttm2, head", "genie_hermite3, head",
        "genie_hermite of 3 values, head",
    ]  # fmt: skip
    assert float(lines["ddim"]["forwards"]) == 4.0 < float(lines["genie_ttm2, exact"]["forwards"])
    assert float(lines["genie_hermite3, exact"]["rmse"]) < float(lines["ddim"]["rmse"])
    assert (tmp_path / "genie.png").stat().st_size > 0
    assert "| genie-ext | ipndm |" in (tmp_path / "genie.md").read_text()


def test_the_cost_counts_the_rows_that_read_a_derivative(monkeypatch: pytest.MonkeyPatch) -> None:
    price = {"exact": 3.0, "correction": 0.25}
    below = {"derivative": "exact", "derivative_below": 10.0}
    monkeypatch.setattr(genie, "WITH_DERIVATIVE", {**genie.WITH_DERIVATIVE, "below": ("genie_ttm2", below)})
    plan = make_plan("genie_ttm2", vp_linear(), 5, grid="karras", options=below)
    reading = sum(step.outputs > 1 for step in plan.rows)
    assert 0 < reading < 5
    assert genie.forwards("ddim", 5, "karras", price) == 5.0
    assert genie.forwards("below", 5, "karras", price) == 5.0 + 3.0 * reading
    assert genie.forwards("genie_ttm2, head", 5, "karras", price) == 6.25
    assert genie.forwards("genie_ttm2, exact", 5, "karras", price) == 20.0
