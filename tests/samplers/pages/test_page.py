"""A page as html.parser reads it: whole, escaped, needing nothing else, with the numbers and pictures of its cells."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import genie_samplers as gs
from genie_samplers.files.pixels import grid, to_pixels
from genie_samplers.pages import amplification, calibration_page, comparison_page, views
from genie_samplers.uses.compare import Cell, Comparison

from .made import NFES, SOLVERS, Page, comparison, noise, pixels_of

pytest.importorskip("jinja2", reason="the templates of pages are Jinja's")
SCHEDULE = gs.schedules.vp_linear()
NASTY = '</title><script>alert("1")</script>&amp;'
TIMES, DASH = "\u00d7", "\u2013"
CURVE = [(0, 0.2, 0.21), (10, 0.11, 0.13), (20, 0.1, 0.14)]


def compared(folder: Path, result: Comparison, **words: str) -> Page:
    comparison_page(folder / "page.html", result, **{"title": "a title", **words})
    return Page.of(folder / "page.html")


def calibrated(folder: Path, result: Comparison, **words: str) -> Page:
    learned, start = (gs.make_plan(name, SCHEDULE, 4) for name in ("ipndm2", "ddim"))
    said = {"title": "a title", **words}
    calibration_page(folder / "page.html", result, learned=learned, start=start, curve=CURVE, **said)
    return Page.of(folder / "page.html")


both = pytest.mark.parametrize("made", [compared, calibrated])
SHAPES = {
    "grey": (9, 1, 8, 8),
    "colours": (3, 3, 12, 8),
    "one_tall": (1, 3, 300, 4),
    "plane": (6, 2),
    "latents": (2, 4, 8, 8),
    "vectors": (3, 5),
    "numbers": (3,),
    "no_samples": (0, 1, 8, 8),
}
every_shape = pytest.mark.parametrize("shape", [pytest.param(shape, id=name) for name, shape in SHAPES.items()])


@both
@every_shape
def test_a_page_is_closed_and_asks_for_nothing_outside_itself(made, shape, tmp_path: Path) -> None:
    page = made(tmp_path, comparison(*shape))
    assert page.open == [] and [e.tag for e in page.elements if not e.within] == ["html"]
    asked = [e.attributes.get(name, "data:") for e in page.elements for name in ("src", "href", "action", "data")]
    assert [address for address in asked if not address.startswith("data:")] == []
    assert not re.search(r"url\(|@import|https?:|fetch\(|XMLHttpRequest", page.source)
    policy = page.one("meta", http_equiv="Content-Security-Policy").attributes["content"]
    assert policy.startswith("default-src 'none'; img-src data:;")


@both
@every_shape
def test_what_is_drawn_is_told_in_words_too(made, shape, tmp_path: Path) -> None:
    page = made(tmp_path, comparison(*shape))
    drawn = [e.attributes.get("alt", "") for e in page.all("img")]
    drawn += [e.attributes.get("aria-label", "") for e in page.all("svg", role="img")]
    assert "" not in drawn and len(page.all("svg")) == len(page.all("svg", role="img"))
    assert page.one("html").attributes["lang"] == "en"
    ids = [e.attributes["id"] for e in page.elements if "id" in e.attributes]
    assert len(ids) == len(set(ids))
    named = [e.attributes[n] for e in page.elements for n in ("for", "aria-labelledby") if n in e.attributes]
    assert set(named) <= set(ids)


@both
def test_titles_solvers_commands_and_reasons_are_text(made, tmp_path: Path) -> None:
    result = comparison(2, 1, 8, 8, solvers=("ddim", NASTY))
    result.skipped["edm_heun", 8] = NASTY
    page = made(tmp_path, result, title=NASTY, command=NASTY)
    heads = [*page.inside("title", page.one("head")), page.one("h1"), page.one("code")]
    assert [head.text for head in heads] == [NASTY] * 3
    assert len(page.all("script")) == 1 and "alert(" not in page.one("script").text
    assert NASTY in [cell.text for cell in page.all("th")] and NASTY in [cell.text for cell in page.all("h3")]
    assert [item.text for item in page.all("li")] == [f"edm_heun, 8 evaluations: {NASTY}"]


def test_the_slider_has_a_stop_for_every_number_of_evaluations(tmp_path: Path) -> None:
    result = comparison(2, 1, 8, 8, nfes=(8, 5))
    result.skipped["ddim", 20] = "why not"
    page = compared(tmp_path, result)
    stops = [e.attributes["data-stop"] for e in page.all("section") if "data-stop" in e.attributes]
    slider = page.one("input").attributes
    assert stops == ["5", "8", "20"]
    assert (slider["type"], slider["min"], slider["max"], slider["step"]) == ("range", "0", "2", "1")
    assert page.one("label").attributes["for"] == slider["id"]


def test_every_cell_has_its_samples_and_their_difference(tmp_path: Path) -> None:
    result = comparison(3, 1, 8, 8)
    page = compared(tmp_path, result)
    stop = page.one("section", data_stop="8")
    pictures = [pixels_of(picture) for picture in page.inside("img", stop)]
    cells = [result.cell(solver, 8) for solver in SOLVERS]
    apart = [(cell.samples - cell.fine).abs().numpy() for cell in cells if cell is not None]
    factor = amplification(apart)
    expected = [
        tile
        for cell, difference in zip(cells, apart, strict=True)
        if cell is not None
        for tile in (cell.samples.numpy(), factor * difference - 1.0)
    ]
    tiles = [grid(to_pixels(tile.astype(np.float32)), 2, fill=128)[..., 0] for tile in expected]
    assert len(pictures) == len(tiles) == 4
    assert [np.array_equal(found, tile) for found, tile in zip(pictures, tiles, strict=True)] == [True] * 4
    assert [caption.text for caption in page.inside("figcaption", stop)] == [f"difference {TIMES} {factor}"] * 2


def test_the_table_has_the_errors_and_marks_the_lowest(tmp_path: Path) -> None:
    page = compared(tmp_path, comparison(2, 1, 8, 8))
    cells = page.inside("td", page.one("table", id="numbers"))
    assert [cell.text for cell in cells] == ["0.0800", "0.0500", "0.0400", "0.0400", "0.0250", "0.0200"]
    assert [cell.attributes.get("class") for cell in cells] == [None] * 3 + ["best"] * 3
    assert [cell.attributes["data-nfe"] for cell in cells] == ["5", "8", "10"] * 2


def test_a_cell_that_was_not_run_says_why(tmp_path: Path) -> None:
    result = comparison(2, 1, 8, 8)
    result.skipped["edm_heun", 8] = "edm_heun makes 7 or 9"
    page = compared(tmp_path, result)
    said = [p.text for nfe in NFES for p in page.inside("p", page.one("section", data_stop=str(nfe)))]
    assert [text for text in said if "RMSE" not in text] == ["not run", "edm_heun makes 7 or 9", "not run"]
    assert [cell.text for cell in page.inside("td", page.one("table", id="numbers"))][-3:] == [DASH] * 3


@pytest.mark.parametrize("shape", [(2, 4, 8, 8), (3, 5), (3,)])
def test_samples_that_are_no_pictures_are_said_to_be_none(shape, tmp_path: Path) -> None:
    page = compared(tmp_path, comparison(*shape))
    assert page.all("img") == [] and page.all("svg", class_="plane") == []
    assert "are not drawn: images of 1 or 3 channels and points of the plane are." in page.source
    assert page.all("svg", id="errors") != []


def test_points_of_the_plane_are_joined_to_the_fine_ones(tmp_path: Path) -> None:
    fine = torch.tensor([[0.0, 0.0], [2.0, 2.0]])
    cell = Cell("ddim", 5, fine + torch.tensor([0.0, 1.0]), 0.7, fine)
    page = compared(tmp_path, Comparison(fine, [cell]))
    (plane,) = page.inside("svg", page.one("section", data_stop="5"))
    fine_path, between, points = (path.attributes["d"] for path in page.inside("path", plane))
    # 240 units over 2.4 to both sides of (1, 1), upwards
    assert (fine_path, points) == ("M20.0 220.0h0M220.0 20.0h0", "M20.0 120.0h0M220.0 2.4h0")
    assert between == "M20.0 220.0L20.0 120.0M220.0 20.0L220.0 2.4"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("shape", [(2, 1, 8, 8), (2, 2)], ids=["images", "plane"])
def test_samples_of_every_type_are_drawn(dtype: torch.dtype, shape: tuple[int, ...], tmp_path: Path) -> None:
    fine = noise(*shape).to(dtype).requires_grad_()
    page = compared(tmp_path, Comparison(fine, [Cell("ddim", 5, fine, 0.1, fine)]))
    assert len(page.all("img")) + len(page.all("svg", class_="plane")) >= 2


@pytest.mark.parametrize("shape", [(2, 1, 8, 8), (2, 2)], ids=["images", "plane"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_samples_that_are_not_finite_make_a_page(shape: tuple[int, ...], value: float, tmp_path: Path) -> None:
    fine = noise(*shape)
    page = compared(tmp_path, Comparison(fine, [Cell("ddim", 5, torch.full_like(fine, value), value, fine)]))
    assert "No error to draw" in page.source and page.all("svg", id="errors") == []


def test_a_comparison_without_error_or_cells_says_so(tmp_path: Path) -> None:
    fine = noise(2, 1, 8, 8)
    exact = compared(tmp_path, Comparison(fine, [Cell("ddim", 5, fine, 0.0, fine)]))
    empty = compared(tmp_path, Comparison(fine))
    assert "No error to draw" in exact.source and "No error to draw" in empty.source
    assert len(exact.all("img")) == 3 and empty.all("input") == []


@pytest.mark.parametrize(
    ("shape", "most", "told"),
    [
        ((20, 1, 8, 8), 2**20, "8 of 20 samples are shown."),
        ((20, 1, 8, 8), 3 * 64 * 3, "3 of 20 samples are shown."),
        ((20, 3, 200, 100), 2**24, "4 of 20 samples are shown."),
        ((2, 1, 512, 256), 2**24, "2 of 2 samples are shown, made smaller from 256 x 512 to 128 x 256."),
        ((2, 1, 64, 64), 3 * 1024, "1 of 2 samples are shown, made smaller from 64 x 64 to 32 x 32."),
        ((2, 1, 64, 64), 1, "1 of 2 samples are shown, made smaller from 64 x 64 to 1 x 1."),
    ],
)
def test_a_page_holds_few_samples_and_bytes(shape, most: int, told: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(views, "MOST_BYTES", most)
    page = compared(tmp_path, comparison(*shape, solvers=("ddim",), nfes=(5,)))
    assert told in [p.text for p in page.all("p")]
    pictures = [pixels_of(picture) for picture in page.all("img")]
    count, gaps = int(told.split()[0]), 128  # the level of what lies between the samples
    packed = [picture[picture != gaps].size if count > 1 else picture.size for picture in pictures]
    assert len(pictures) == 3 and sum(packed) <= max(most, 3)


def test_of_points_a_page_holds_some(tmp_path: Path) -> None:
    page = compared(tmp_path, comparison(views.MOST_POINTS + 1, 2, nfes=(5,)))
    assert "500 of 501 samples are shown" in page.source
    assert max(path.attributes["d"].count("M") for path in page.all("path", class_="points")) == views.MOST_POINTS


def test_a_page_of_a_calibration_has_the_fit_and_both_tables(tmp_path: Path) -> None:
    page = calibrated(tmp_path, comparison(2, 1, 8, 8))
    fit = page.one("svg", id="fit")
    assert [text.text for text in page.inside("text", fit)][-2:] == ["training latents", "held-out latents"]
    assert "Held-out latents: RMSE 0.210 at step 0, lowest 0.130 at step 10." in [p.text for p in page.all("p")]
    tables = page.all("table", class_="heat")
    assert [caption.text for table in tables for caption in page.inside("caption", table)] == ["Start", "Learned"] * 2
    assert [[cell.text for cell in page.inside("th", table)][:3] for table in tables] == [
        ["row", "gamma", "1"], ["row", "gamma", "1"], ["row", "gamma", "x_T"], ["row", "gamma", "x_T"],
    ]  # fmt: skip


@pytest.mark.parametrize("curve", [[], [(0, float("nan"), float("nan"))]])
def test_a_fit_that_measured_nothing_is_a_page_too(curve, tmp_path: Path) -> None:
    plan = gs.make_plan("ddim", SCHEDULE, 3)
    path = tmp_path / "page.html"
    calibration_page(path, comparison(2, 1, 8, 8), learned=plan, start=plan, curve=curve, title="nothing")
    assert Page.of(path).all("svg", id="fit") == []


def test_a_name_that_is_no_page_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"path='.*page\.png'; need a name that ends in \.html"):
        comparison_page(tmp_path / "page.png", comparison(2, 1, 8, 8), title="a title")


def test_a_page_without_its_template_library_says_what_to_install(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("genie_samplers.files.extras.find_spec", lambda name: None if name == "jinja2" else name)
    with pytest.raises(ImportError, match=r'a page needs jinja2: pip install "genie-ext\[cli\]"'):
        comparison_page(tmp_path / "page.html", comparison(2, 1, 8, 8), title="a title")
