"""docs/auto.md shows what benchmarks/networks.py measured, and the benchmark runs."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from torch import Tensor

import genie_samplers as gs
from benchmarks.networks import COLUMNS, markdown, rows

DOCS = Path(__file__).parents[2] / "docs"
with open(DOCS / "images" / "networks.csv", newline="") as file:
    MEASURED = list(csv.DictReader(file))
VP = gs.schedules.vp_linear()


def test_the_page_shows_the_table_of_the_csv() -> None:
    assert markdown(MEASURED) in (DOCS / "auto.md").read_text()


@pytest.mark.parametrize("row", MEASURED, ids=lambda row: f"{row['network']}-{row['nfe']}")
def test_no_choice_is_better_than_the_best(row: dict[str, str]) -> None:
    assert all(float(row[f"{choice}_error"]) >= float(row["best_error"]) for choice in ("auto", "choose", "ddim"))


@pytest.mark.parametrize("row", MEASURED, ids=lambda row: f"{row['network']}-{row['nfe']}")
def test_auto_chooses_as_it_did(row: dict[str, str]) -> None:
    flow = row["network"].endswith("flow")
    schedule, prediction = (gs.schedules.flow(), "flow") if flow else (VP, "epsilon")
    plan = gs.make_plan("auto", schedule, int(row["nfe"]), prediction=prediction)
    assert f": {row['auto']}, score" in plan.note


def test_a_network_is_measured() -> None:
    def network(x: Tensor, gamma: Tensor) -> Tensor:
        gamma = gamma.reshape(-1, 1, 1, 1)
        return gamma * (x * (1.0 + gamma**2).sqrt() - 0.2) / (0.2 + gamma**2)

    model = gs.models.wrap(network, VP, prediction="epsilon", label=VP.gamma)
    (row,) = rows("exact", model, (1, 2, 2), [4])
    assert tuple(row) == COLUMNS
    assert 0.0 < float(str(row["best_error"])) <= float(str(row["auto_error"])) < float(str(row["ddim_error"]))
    assert torch.isfinite(torch.tensor(float(str(row["fine"]))))
