"""docs/encoding.md: its code prints what it says, its table is that of the CSV files, its commands and links exist."""

from __future__ import annotations

import csv
import re
import runpy
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from genie_samplers.cli import main

from ..forked import ForkServer
from .command_line import write_idx

pytest.importorskip("diffusers", reason="the embedded network is a diffusers UNet2DModel")

pytestmark = pytest.mark.long
ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "encoding.md"
TEXT = PAGE.read_text()
EXAMPLE = ROOT / "examples" / "encode_interpolate.py"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def test_the_code_runs_and_prints_the_shown_output(programs: ForkServer) -> None:
    done = programs.run("\n".join(blocks("python")))
    assert done.returncode == 0, done.stderr
    assert done.stdout == blocks("text")[0]


@pytest.mark.parametrize("line", [line for block in blocks("bash") for line in block.splitlines() if "genie-" in line])
def test_the_commands_exist_with_these_options(line: str) -> None:
    result = CliRunner().invoke(main, [*line.split("#")[0].split()[1:], "--help"])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("link", re.findall(r"\]\((?!http)([^)#]+)\)", TEXT))
def test_the_links_point_at_files(link: str) -> None:
    assert (PAGE.parent / link).exists()


@pytest.mark.parametrize("file", sorted((PAGE.parent / "images" / "encode").glob("*.csv")), ids=lambda file: file.stem)
def test_every_report_is_a_row_of_the_table(file: Path) -> None:
    with open(file, newline="") as opened:
        rows = list(csv.DictReader(opened))
    cells = [f"{float(row['mse']):.1e}" for row in rows] + [""] * (4 - len(rows))
    assert f" | {' | '.join(cells)} | {float(rows[-1]['latent_rms']):.3f} |" in TEXT


def test_the_page_says_of_which_s_the_latent_rms_is() -> None:
    assert "the latent rms is of the largest S" in TEXT


def test_the_report_of_noised_images_has_no_error_on_gaussian_data() -> None:
    with open(PAGE.parent / "images" / "encode" / "noised.csv", newline="") as opened:
        assert {row["gaussian_mse"] for row in csv.DictReader(opened)} == {""}


def test_the_example_draws_its_picture(tmp_path: Path) -> None:
    write_idx(tmp_path / "t10k-images-idx3-ubyte.gz", np.arange(8 * 28 * 28).reshape(8, 28, 28) % 256)
    write_idx(tmp_path / "t10k-labels-idx1-ubyte.gz", np.arange(8))
    out = tmp_path / "picture.png"
    command = runpy.run_path(str(EXAMPLE))["main"]
    arguments = ["--nfe", "1", "--data", str(tmp_path), "--out", str(out)]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert "error of the way there and back" in result.output
    assert Image.open(out).size == Image.open(ROOT / "docs" / "images" / "encode_interpolate.png").size
