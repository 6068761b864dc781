"""The README's code runs and prints what it says; its commands, solvers and links exist."""

from __future__ import annotations

import csv
import re

import pytest
from click.testing import CliRunner

from genie_samplers.cli import main
from genie_samplers.cli.solver_tables import solver_table

from .documents import ROOT, blocks, links, run_python

PAGE = ROOT / "README.md"
README = PAGE.read_text()


def test_python_code_runs_and_prints_the_shown_output(tmp_path, programs):
    pytest.importorskip("diffusers", reason="the first example samples from the embedded network")
    result = run_python(blocks(PAGE, "python"), tmp_path, programs)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "".join(blocks(PAGE, "text"))


COMMANDS = [line for block in blocks(PAGE, "bash") for line in block.splitlines() if "genie-samplers" in line]


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_exist_with_these_options(line):
    arguments = line.split("#")[0].split()[1:]
    result = CliRunner().invoke(main, [*arguments, "--help"])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("target", re.findall(r"^make ([\w-]+)", README, re.MULTILINE))
def test_make_targets_exist(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("link", links(PAGE))
def test_links_point_at_files(link):
    assert (ROOT / link).exists()


def test_the_page_of_solvers_is_what_plan_lists():
    assert (ROOT / "docs" / "solvers.md").read_text().endswith(f"\n{solver_table()}\n")


def comparison() -> list[dict[str, str]]:
    with open(ROOT / "docs" / "images" / "compare.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("solver", ["auto", "ddim", "dpmpp", "unipc", "deis_tab", "deis_log_ab", "ipndm"])
def test_quality_table_is_the_csv_beside_the_picture(solver):
    errors = [f"{float(row['rmse']):.3f}" for row in comparison() if row["solver"] == solver]
    assert f"| `{solver}` | {' | '.join(errors)} |" in README
