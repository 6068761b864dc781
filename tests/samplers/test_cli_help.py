"""Every option of every command says what it is for, and the same option says the same everywhere."""

from __future__ import annotations

from collections import defaultdict

import click
import pytest
from click.testing import CliRunner

from genie_samplers.cli import main

from ..documents import ROOT, blocks
from .command_line import commands

OPTIONS = [
    pytest.param(option, id=f"{name} {option.opts[0]}")
    for name, command in commands(main).items()
    for option in command.params
    if isinstance(option, click.Option)
]
NETWORK = {"--network", "--schedule", "--prediction", "--label", "--device"}
RUN_A_NETWORK = {
    "calibrate analytic",
    "calibrate grid",
    "calibrate plan",
    "calibrate tdas",
    "calibrate temperature",
    "compare",
    "diagnose",
    "distill",
    "encode",
    "interpolate",
    "sample",
    "train",
}
SHARED = (
    "--device",
    "--prediction",
    "--label",
    "--clip",
    "--backend",
    "--class",
    "--run",
    "--images",
    "--data",
    "--fine",
)


def test_the_commands_that_hold_commands_are_looked_into() -> None:
    assert {"calibrate grid", "sample"} <= commands(main).keys() and len(OPTIONS) > 60


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_says_what_it_is_for(option: click.Option) -> None:
    assert option.help is not None and option.help.strip(" .") and option.help.endswith(".")


@pytest.mark.parametrize("name", sorted(commands(main)))
def test_a_command_that_runs_a_network_takes_any_by_the_same_options(name: str) -> None:
    options = {option.opts[0] for option in commands(main)[name].params}
    assert options >= NETWORK if name in RUN_A_NETWORK else "--network" not in options


@pytest.mark.parametrize("flag", SHARED)
def test_an_option_of_several_commands_says_the_same_in_each(flag: str) -> None:
    said = defaultdict(set)
    for name, command in commands(main).items():
        for option in command.params:
            if isinstance(option, click.Option) and option.opts[0] == flag and name != "plan":
                said[option.help].add(name)
    assert len(said) == 1 and len(next(iter(said.values()))) > 1


SHOWN = [
    pytest.param(line, id=f"{page.stem} {line[15:75]}")
    for page in sorted((ROOT / "docs").glob("*.md"))
    for block in blocks(page, "bash")
    for line in block.replace("\\\n", " ").splitlines()
    if line.startswith("genie-samplers")
]


@pytest.mark.parametrize("line", SHOWN)
def test_the_commands_of_the_pages_have_these_options(line: str) -> None:
    result = CliRunner().invoke(main, [*line.split("#")[0].split()[1:], "--help"])
    assert result.exit_code == 0, result.output
