"""Commands of the embedded network with genie solvers: with its head out of the box, and with exact derivatives."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import genie_samplers as gs
from genie_samplers import demo
from genie_samplers.cli import images

from .command_line import refused, run

pytest.importorskip("diffusers", reason="the embedded network is a diffusers UNet2DModel")

SHAPE = (2, 1, 28, 28)
COND = {"class_labels": torch.arange(2)}


@pytest.mark.parametrize("solver", ["genie_ttm2", "genie_hermite3", "genie_hermite"])
def test_sample_takes_the_head_out_of_the_box(solver: str, tmp_path: Path) -> None:
    out = tmp_path / "s.png"
    run("sample", "--solver", solver, "--nfe", 3, "--count", 2, "--batch-size", 2, "--out", out)
    model = demo.embedded_with_head()
    x = gs.sample(model, gs.make_plan(solver, gs.schedules.vp_linear(), 3), shape=SHAPE, cond=COND, batch_size=2)
    page = images.grid(images.to_pixels(x.numpy()), columns=2)
    top = images.header_height(["T-shirt", "trouser"])
    shown = np.asarray(Image.open(out))[top : top + 2 * len(page) : 2, : 2 * page.shape[1] : 2]  # zoomed by two
    assert np.array_equal(shown, page[..., 0])


def test_exact_derivatives_say_what_they_cost(tmp_path: Path) -> None:
    arguments = ("--solver", "genie_ttm2", "--nfe", 2, "--count", 1, "--batch-size", 1, "--out", tmp_path / "s.png")
    text = run("sample", "--derivative", "exact", *arguments)
    assert "2 evaluations" in text
    assert re.search(r"exact derivatives: the cost of \d+\.\d forward passes", text)
    assert "forward passes" not in run("sample", *arguments)


def test_guidance_runs_with_exact_derivatives_and_not_with_corrections(tmp_path: Path) -> None:
    out = tmp_path / "s.png"
    arguments = ("--solver", "genie_ttm2", "--nfe", 2, "--count", 2, "--batch-size", 2, "--guidance", 2, "--out", out)
    run("sample", "--derivative", "exact", *arguments)
    assert Image.open(out).info["guidance"] == "2.0"
    assert "take derivative='exact'" in refused("sample", *arguments)


def test_encode_runs_with_exact_derivatives_and_not_with_corrections(tmp_path: Path) -> None:
    grey = tmp_path / "grey.npy"
    np.save(grey, np.zeros((1, 28, 28), np.uint8))
    arguments = ("--solver", "genie_ttm2", "--images", grey, "--nfe", 2, "--out", tmp_path / "e.png")
    assert "use derivative='exact'" in refused("encode", *arguments)
    run("encode", "--derivative", "exact", *arguments)
    with open(tmp_path / "e.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(row["mse"]) > 0 and row["gaussian_mse"] == ""


def test_a_solver_without_derivatives_has_no_such_option(tmp_path: Path) -> None:
    arguments = ("--solver", "ddim", "--derivative", "exact", "--out", tmp_path / "s.png")
    assert "ddim has no 'derivative'" in refused("sample", *arguments)
