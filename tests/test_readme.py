"""The README's code runs and prints what it says; its commands, solvers and links exist."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import genie_samplers as gs
from genie_samplers.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_python_code_runs_and_prints_the_shown_output(tmp_path):
    pytest.importorskip("diffusers", reason="the first example samples from the embedded network")
    result = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks("python"))], cwd=tmp_path, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == blocks("text")[0]


COMMANDS = [line for block in blocks("bash") for line in block.splitlines() if "genie-samplers" in line]


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_exist_with_these_options(line):
    arguments = line.split("#")[0].split()[1:]
    result = CliRunner().invoke(main, [*arguments, "--help"])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("target", re.findall(r"^make (\w+)", README, re.MULTILINE))
def test_make_targets_exist(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("link", re.findall(r"\]\((?!http)([^)#]+)\)", README))
def test_links_point_at_files(link):
    assert (ROOT / link).exists()


@pytest.mark.parametrize("solver", gs.SOLVERS.values(), ids=lambda solver: solver.name)
def test_solver_table_is_the_registry(solver):
    assert f"| `{solver.name}` | {solver.order} | {solver.default_grid} | {solver.summary} |" in README


def comparison() -> list[dict[str, str]]:
    with open(ROOT / "docs" / "images" / "compare.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("solver", ["ddim", "dpmpp_2m", "deis_tab1", "deis_tab2", "deis_tab3"])
def test_quality_table_is_the_csv_beside_the_picture(solver):
    errors = [f"{float(row['rmse']):.3f}" for row in comparison() if row["solver"] == solver]
    assert f"| `{solver}` | {' | '.join(errors)} |" in README
