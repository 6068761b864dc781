"""The pages of pictures: names of classes, the solver's line, errors in the cells, differences that can be seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import genie_samplers as gs
from genie_samplers.cli import compare as compare_file
from genie_samplers.cli import images
from genie_samplers.cli.network import Chosen
from genie_samplers.demo.data import CLASS_NAMES
from genie_samplers.pages import amplification
from genie_samplers.uses.compare import Cell, Comparison, compare

from .command_line import run
from .network_folders import save_unet

GREY = np.full((6, 8, 8, 1), 100, np.uint8)


def drawn_texts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is written onto pages from now on."""
    from PIL import ImageDraw

    found: list[str] = []
    real = ImageDraw.ImageDraw.text

    def text(self: ImageDraw.ImageDraw, place: object, words: str, *others: object, **options: object) -> None:
        found.append(words)
        real(self, place, words, *others, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
    return found


def test_a_page_has_its_tiles_below_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = drawn_texts(monkeypatch)
    page = np.asarray(images.captioned(GREY, 3, "ddim, 5 evaluations", ["a", "b", "c"]))
    top = images.header_height(["a"])
    tiles = images.grid(GREY, 3)[..., 0]
    assert np.array_equal(page[top : top + 2 * len(tiles) : 2, : 2 * tiles.shape[1] : 2], tiles)
    assert texts == ["a", "b", "c", "ddim, 5 evaluations"]


def test_a_line_longer_than_its_tiles_makes_the_page_wider() -> None:
    assert images.captioned(GREY[:1], 1, "a long line of text").width > 100


def test_large_images_are_shown_as_they_are() -> None:
    assert images.captioned(np.zeros((1, 80, 80, 3), np.uint8), 1, "").size == (80, 80 + images.header_height(["a"]))


@pytest.mark.parametrize(
    ("count", "number", "columns", "names"),
    [(64, None, 10, 10), (3, None, 3, 3), (64, 2, 10, 0), (4, 2, 4, 0)],
)
def test_the_columns_of_the_embedded_network_are_its_classes(
    count: int, number: int | None, columns: int, names: int
) -> None:
    found, labels = Chosen(None, None, None, None, "cpu").columns(count, number)
    assert (found, labels) == (columns, list(CLASS_NAMES[:names]))


def test_the_columns_of_another_network_are_numbered(tmp_path: Path) -> None:
    pytest.importorskip("diffusers", reason="the network is a diffusers U-Net")
    chosen = Chosen(save_unet(tmp_path), "vp_linear", None, None, "cpu")
    assert chosen.columns(9, None) == (3, ["0", "1", "2"])


def test_sample_writes_classes_and_the_line_of_the_solver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("diffusers", reason="the embedded network is a diffusers U-Net")
    texts = drawn_texts(monkeypatch)
    given = ("--solver", "ddim", "--nfe", 1, "--batch-size", 2, "--out", tmp_path / "s.png")
    run("sample", *given, "--count", 2, "--seed", 3)
    assert texts == ["T-shirt", "trouser", "ddim, 1 evaluations, seed 3"]
    texts.clear()
    run("sample", *given, "--count", 1, "--class", "bag", "--guidance", 2)
    assert texts == ["ddim, 1 evaluations, seed 0, bag, guidance 2"]


# --- compare


@pytest.mark.parametrize(
    ("largest", "factor"), [([2.0], 1), ([0.9], 2), ([0.19], 10), ([0.5, 0.09, 0.01], 20), ([0.0], 1000), ([], 1)]
)
def test_differences_are_amplified_until_those_of_the_median_cell_are_white(largest: list[float], factor: int) -> None:
    assert amplification([np.full((2, 1, 2, 2), value) for value in largest]) == factor


def test_a_page_of_compare_has_errors_and_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = drawn_texts(monkeypatch)
    fine = torch.zeros(2, 1, 8, 8)
    cells = [Cell("ddim", 5, fine + 0.1, 0.1, fine), Cell("ipndm", 5, fine + 0.2, 0.2, fine)]
    result = Comparison(fine, cells, {("ddim", 8): "why not"})
    page = compare_file._page(result, ["ddim", "ipndm"], [5, 8], 40)
    assert [text for text in texts if text.startswith(("RMSE", "x "))] == ["RMSE 0.1000", "x 10", "RMSE 0.2000", "x 10"]
    assert texts.count("difference") == 2 and "fine (40)" in texts
    levels = np.unique(np.asarray(page.convert("L")))
    assert {128, 255} <= set(levels.tolist())  # a tenth of black to white, ten times; white is twice that, and paper


def test_compare_clips_its_plans_and_not_the_fine_solution(tmp_path: Path) -> None:
    schedule = gs.schedules.vp_linear()
    found = [
        compare(lambda x, t: 0.1 * x, schedule, ["ddim"], [3], shape=(2, 4), fine_steps=8, clip=clip)
        for clip in (None, 0.5)
    ]
    assert torch.equal(found[0].fine, found[1].fine)
    plan = gs.make_plan("ddim", schedule, 3, clip=0.5)
    expected = gs.sample(lambda x, t: 0.1 * x, plan, shape=(2, 4))
    assert torch.equal(found[1].cells[0].samples, expected)
    assert not torch.equal(found[0].cells[0].samples, expected)
