"""benchmarks/gpu.sh rehearsed without a GPU; all of it: benchmarks/gpu.sh --cpu --quick."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "gpu.sh"


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHON": sys.executable} | environment
    return subprocess.run(["bash", str(SCRIPT), *arguments], env=environment, capture_output=True, text=True)


def test_steps_pass_or_are_skipped_with_their_reason(tmp_path: Path) -> None:
    chosen = ["--only", "machine,build,backends,sanitizer", "--results", str(tmp_path)]
    done = run("--cpu", "--quick", "--no-build", *chosen)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split(" | ") for line in (tmp_path / "summary.md").read_text().splitlines()[4:]]
    assert [(row[0], row[1]) for row in rows] == [
        ("| machine", "PASS"), ("| build", "SKIP"), ("| backends", "PASS"), ("| sanitizer", "SKIP"),
    ]  # fmt: skip
    assert rows[3][3] == "no GPU |"
    assert json.loads((tmp_path / "machine.json").read_text())["versions"]["torch"] == torch.__version__


def test_a_failing_step_fails_the_run(tmp_path: Path) -> None:
    chosen = ["--only", "backends", "--results", str(tmp_path)]
    done = run("--cpu", "--no-build", *chosen, GENIE_EXT_BACKEND="cuda")
    assert done.returncode == 1
    assert "| backends | FAIL |" in (tmp_path / "summary.md").read_text()
    assert "backend='cuda' cannot run" in (tmp_path / "log.txt").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "machine,bit"], "--only bit: choose of machine build backends bits"),
        (["--fast"], "--fast: unknown option"),
        (["--only", "build,embedded"], "--only embedded: needs --data DIR"),
        pytest.param(
            [], "torch sees no CUDA GPU; --cpu rehearses",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU"),
        ),
    ],
    ids=["step", "option", "data", "no_gpu"],
)  # fmt: skip
def test_what_cannot_be_done_is_said(arguments: list[str], message: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
