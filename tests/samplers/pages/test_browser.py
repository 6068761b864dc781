"""A page in headless Chromium: what its script shows, what it says to the console, and that something is to be seen."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import genie_samplers as gs
from genie_samplers.pages import calibration_page, comparison_page

from .made import Element, Page, comparison

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(CHROMIUM is None, reason="no browser (chromium, chromium-browser, google-chrome) on PATH"),
]
pytest.importorskip("jinja2", reason="the templates of pages are Jinja's")
WIDTH, HEIGHT = 900, 700


def browse(page: Path, *flags: str, at: str = "") -> tuple[str, list[str]]:
    """The document after its script ran, and every line that it, or the browser about it, wrote to the console."""
    own = [f"--user-data-dir={page.parent / 'profile'}", "--enable-logging=stderr", f"--window-size={WIDTH},{HEIGHT}"]
    quiet = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"]
    command = [str(CHROMIUM), *quiet, *own, *(flags or ("--dump-dom",)), page.as_uri() + at]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout, [line for line in done.stderr.splitlines() if re.search(r":CONSOLE[:(]", line)]


def seen(page: Path, at: str = "") -> Image.Image:
    picture = page.with_name("seen.png")
    browse(page, f"--screenshot={picture}", at=at)
    return Image.open(picture).convert("RGB")


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("compared") / "page.html"
    comparison_page(path, comparison(4, 1, 16, 16), title="</title><script>document.title = 'run'</script>")
    return path


def with_script(page: Path, script: str, name: str) -> Path:
    """The page, and a script after its own."""
    copy = page.with_name(name)
    copy.write_text(page.read_text(encoding="utf-8").replace("</body>", f"<script>{script}</script></body>"), "utf-8")
    return copy


def shown(page: Page) -> list[str]:
    """The numbers of evaluations whose solvers are not hidden."""
    stops = [e.attributes for e in page.all("section") if "data-stop" in e.attributes]
    return [stop["data-stop"] for stop in stops if "hidden" not in stop]


def marked(page: Page) -> set[str]:
    """The columns of the table that are marked."""
    cells = page.inside("td", page.one("table", id="numbers"))
    return {cell.attributes["data-nfe"] for cell in cells if "now" in cell.attributes.get("class", "").split()}


@pytest.mark.parametrize(
    ("at", "nfe"), [("", "5"), ("#nfe=8", "8"), ("#nfe=10", "10"), ("#nfe=7", "5"), ("#other", "5")]
)
def test_a_page_begins_where_its_address_says(compared: Path, at: str, nfe: str) -> None:
    document, said = browse(compared, at=at)
    page = Page(document)
    assert (shown(page), marked(page), said) == ([nfe], {nfe}, [])
    slider, stop = page.one("input").attributes, page.one("section", data_stop=nfe).attributes
    assert (slider["aria-valuetext"], page.one("output").text) == (f"{nfe} evaluations",) * 2
    line: Element = page.one("line", class_="now")
    assert (line.attributes["x1"], line.attributes["visibility"]) == (stop["data-across"], "visible")


def test_moving_the_slider_shows_other_evaluations(compared: Path) -> None:
    move = 'slider.value = 2; slider.dispatchEvent(new Event("input")); document.body.dataset.address = location.hash;'
    script = f'const slider = document.getElementById("slider"); {move}'
    document, said = browse(with_script(compared, script, "moved.html"))
    page = Page(document)
    assert (shown(page), marked(page), said) == (["10"], {"10"}, [])
    assert page.one("body").attributes["data-address"] == "#nfe=10"


def test_the_script_in_a_title_is_not_run(compared: Path) -> None:
    page = Page(browse(compared)[0])
    (title,) = page.inside("title", page.one("head"))
    assert title.text == "</title><script>document.title = 'run'</script>"


def test_an_error_or_a_request_of_a_page_would_be_heard(compared: Path) -> None:
    _, said = browse(with_script(compared, 'fetch("https://example.com/"); nothing();', "broken.html"))
    assert len([line for line in said if "nothing is not defined" in line]) == 1
    assert [line for line in said if "Content Security Policy" in line] != []


def test_samples_are_seen_and_change_with_the_evaluations(compared: Path) -> None:
    five, ten = (np.asarray(seen(compared, at)) for at in ("#nfe=5", "#nfe=10"))
    assert five.shape == ten.shape == (HEIGHT, WIDTH, 3)
    assert len(np.unique(five.reshape(-1, 3), axis=0)) > 200  # the greys of noise; of text alone there are few
    assert (five != ten).any(axis=2).mean() > 0.01


def test_a_dark_page_is_dark(compared: Path) -> None:
    picture = compared.with_name("dark.png")
    browse(compared, "--blink-settings=preferredColorScheme=0", f"--screenshot={picture}")
    light = np.asarray(seen(compared).convert("L"))
    dark = np.asarray(Image.open(picture).convert("L"))
    assert np.median(dark) < 64 and np.median(light) > 192


@pytest.mark.parametrize("shape", [(2, 1, 8, 8), (5, 2), (2, 4, 8, 8)], ids=["images", "plane", "latents"])
def test_a_page_of_a_calibration_at_one_number_needs_no_slider(shape: tuple[int, ...], tmp_path: Path) -> None:
    schedule = gs.schedules.vp_linear()
    learned, start = (gs.make_plan(name, schedule, 4) for name in ("ipndm2", "ddim"))
    path = tmp_path / "page.html"
    curve = [(0, 0.2, 0.2), (10, 0.1, 0.15)]
    calibration_page(path, comparison(*shape, nfes=(4,)), learned=learned, start=start, curve=curve, title="one")
    document, said = browse(path)
    page = Page(document)
    assert said == [] and shown(page) == ["4"]
    assert "hidden" in page.one("div", class_="slider").attributes
    assert len(page.all("table", class_="heat")) == 4
