"""The page that ``compare`` writes, and the command on it, which can be typed again."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from genie_samplers.cli.options import nfes_option, page_option, seed_option, solvers_option
from genie_samplers.cli.typed import typed
from genie_samplers.cli.types import OutType

from ..command_line import refused, run
from ..network_folders import save_unet
from .made import Page, pixels_of

pytest.importorskip("jinja2", reason="the templates of pages are Jinja's")
GIVEN = ("--solvers", "ddim,ipndm2", "--nfe", "2,3", "--count", 3, "--fine", 4)


def test_compare_writes_a_page_beside_its_picture(tmp_path: Path) -> None:
    pytest.importorskip("diffusers", reason="the network is a diffusers U-Net")
    network = save_unet(tmp_path / "my net")
    page, out = tmp_path / "c.html", tmp_path / "c.png"
    typed_in = ("compare", "--network", network, "--schedule", "vp_linear", *GIVEN, "--out", out, "--page", page)
    text = run(*typed_in)
    read = Page.of(page)
    assert f"{page}: the same with a slider" in text and out.exists()
    assert read.one("h1").text == "my net: solvers over evaluations"
    shown = shlex.split(read.one("code").text)
    assert shown[:2] == ["genie-samplers", "compare"] and sorted(shown[2:]) == sorted(map(str, typed_in[1:]))
    rows = [row.split(",") for row in (tmp_path / "c.csv").read_text().splitlines()[1:]]
    cells = read.inside("td", read.one("table", id="numbers"))
    assert [float(cell.text) for cell in cells] == pytest.approx([float(row[2]) for row in rows], rel=6e-3)
    assert len({pixels_of(picture).shape for picture in read.all("img")}) == 1


@pytest.mark.parametrize(
    ("page", "message"),
    [("c.png", "--page='c.png'; need a name that ends in .html"), ("taken.html", "--page='taken.html'; cannot be")],
)
def test_a_page_that_cannot_be_written_is_refused_before_any_work(
    page: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("genie_samplers.cli.network.Chosen.load", lambda _: pytest.fail("work was started"))
    (tmp_path / "taken.html").mkdir()
    assert message in refused("compare", "--page", page)


def test_compare_without_the_template_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genie_samplers.cli.network.Chosen.load", lambda _: pytest.fail("work was started"))
    monkeypatch.setattr("genie_samplers.files.extras.find_spec", lambda name: None if name == "jinja2" else name)
    assert 'a page needs jinja2: pip install "genie-ext[cli]"' in refused("compare", "--page", "c.html")


@click.command("try")
@solvers_option("--solvers", "ddim", "")
@nfes_option("5", "Of every solver.")
@seed_option()
@page_option("The page.")
@click.option("--out", type=OutType())
@click.option("--mirror/--no-mirror", default=True)
@click.option("--images", type=str, multiple=True)
def repeat(**_: Any) -> None:
    click.echo(typed())


@pytest.mark.parametrize(
    "words",
    [
        "",
        "--solvers ddim,ipndm --nfe 5,8",
        "--seed 0",
        "--page 'my page.html'",
        "--out made/ --no-mirror",
        "--out made.png --mirror",
        "--images a --images 'b c'",
    ],
)
def test_a_command_is_told_as_it_was_typed(words: str) -> None:
    result = CliRunner().invoke(repeat, shlex.split(words), catch_exceptions=False)
    assert result.output.split(maxsplit=1)[1:] == ([words + "\n"] if words else [])
