"""The examples of schedulers run, in miniature."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("diffusers", reason="the pipelines are its own")

from genie_samplers.cli.train import train_command

EXAMPLES = Path(__file__).parents[3] / "examples"


def _example(name: str, **changes: Any) -> dict[str, Any]:
    """What the file defines, its constants changed."""
    main = runpy.run_path(str(EXAMPLES / name))["main"]
    main.__globals__.update(changes)
    return main.__globals__


def test_the_scheduler_is_swapped_in_a_pipeline(tmp_path: Path) -> None:
    main = _example("swap_the_scheduler.py", EVALUATIONS=(3, 4))["main"]
    lines = main(["--count", "1", "--reference", "5", "--out", str(tmp_path / "swapped.png")])
    errors = [float(cell) for line in lines[2:] for cell in line.split("|")[2:-1]]
    assert len(errors) == 6 and all(0.0 < error < 0.5 for error in errors)
    assert (tmp_path / "swapped.png").stat().st_size > 0


def test_a_flow_network_is_sampled_in_few_steps(tmp_path: Path) -> None:
    """An untrained one, which is smooth; the training itself is the next test's."""
    example = _example("flow_in_few_steps.py", train=lambda folder, steps: example["new_network"](folder / "network"))
    errors = example["main"](["--folder", str(tmp_path), "--reference-steps", "20"])
    assert errors["auto"][-1] < errors["Euler"][-1]
    assert {"errors.png", "samples.png"} <= {path.name for path in tmp_path.iterdir()}


def test_the_command_that_trains_it_is_one_of_train(tmp_path: Path) -> None:
    asked: list[list[str]] = []
    record = SimpleNamespace(run=lambda command, check: asked.append(command))
    example = _example("flow_in_few_steps.py", subprocess=record)
    example["train"](tmp_path, 300)
    arguments = asked[0][asked[0].index("train") + 1 :]
    parsed = train_command.make_context("train", list(arguments)).params
    assert (parsed["steps"], parsed["batch_size"], parsed["learning_rate"]) == (300, 16, 0.002)
    assert " ".join(arguments).replace(str(tmp_path), "demo/flow") in " ".join(example["__doc__"].split())
