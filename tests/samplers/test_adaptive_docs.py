"""docs/adaptive.md: what it says of its table holds there, and the example makes the plans of the table."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import genie_samplers as gs

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "adaptive.md").read_text()
ROWS = [
    (name, int(nfe), float(error))
    for name, nfe, error in re.findall(r"^\| `(\w+)`[^|]*\| (\d+) \|[^|]*\| (\S+) \|$", TEXT, re.MULTILINE)
]
CLAIM = re.search(r"Up to (\d+) evaluations `(\w+)` comes closer than `rk45`, in fewer", TEXT)
ADAPTIVE = [(nfe, error) for name, nfe, error in ROWS if name == "rk45" and CLAIM and nfe <= int(CLAIM[1])]


@pytest.mark.parametrize(("nfe", "error"), ADAPTIVE)
def test_the_solver_of_the_claim_comes_closer_in_fewer_evaluations(nfe: int, error: float) -> None:
    assert CLAIM is not None
    assert any(name == CLAIM[2] and fewer < nfe and closer < error for name, fewer, closer in ROWS)


def test_the_claim_covers_rows() -> None:
    assert len(ADAPTIVE) == 8


def test_the_plans_of_the_example_are_on_the_grid_that_the_page_names(monkeypatch: pytest.MonkeyPatch) -> None:
    table = runpy.run_path(str(ROOT / "examples" / "adaptive.py"))["network_table"]
    x, plans = torch.zeros(1), []
    result = SimpleNamespace(x=x, nfe=torch.ones(1))
    monkeypatch.setattr(gs, "rk45", lambda *_, **__: result)
    monkeypatch.setattr(gs.demo, "embedded", lambda: None)
    monkeypatch.setattr(gs, "sample", lambda _, plan, **__: plans.append(plan) or x)
    table()
    karras = [gs.grids.power_gamma(gs.schedules.vp_linear(), nfe) for nfe in (20, 50, 100)]
    assert 'grid="karras"' in TEXT
    assert [plan.recipe.grid for plan in plans] == [tuple(grid) for grid in karras] * 2
