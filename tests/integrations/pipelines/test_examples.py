"""The examples of schedulers run, in miniature."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("diffusers", reason="the pipelines are its own")

EXAMPLES = Path(__file__).parents[3] / "examples"
pytestmark = pytest.mark.long


def test_the_scheduler_is_swapped_in_a_pipeline(tmp_path: Path) -> None:
    main = runpy.run_path(str(EXAMPLES / "swap_the_scheduler.py"))["main"]
    lines = main(["--count", "1", "--reference", "20", "--out", str(tmp_path / "swapped.png")])
    errors = [float(cell) for line in lines[2:] for cell in line.split("|")[2:-1]]
    assert len(errors) == 9 and all(0.0 < error < 0.5 for error in errors)
    assert (tmp_path / "swapped.png").stat().st_size > 0


def test_a_flow_network_is_trained_and_sampled_in_few_steps(tmp_path: Path) -> None:
    main: Any = runpy.run_path(str(EXAMPLES / "flow_in_few_steps.py"))["main"]
    errors = main(["--folder", str(tmp_path), "--steps", "2", "--reference-steps", "30"])
    assert all(torch.tensor(values).isfinite().all() for values in errors.values())
    assert errors["auto"][-1] < errors["Euler"][-1]  # an untrained network is smooth
    assert {"errors.png", "samples.png"} <= {path.name for path in tmp_path.iterdir()}
