"""The script that makes the embedded network anew, and what compares it with the old one."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("diffusers", reason="the embedded network is a diffusers UNet2DModel")
pytest.importorskip("torchmetrics")

import genie_samplers as gs
from benchmarks.quality.frechet import FrechetDistance, PixelFeatures, mirrored
from benchmarks.quality.networks import main
from genie_samplers.cli.images import to_pixels
from genie_samplers.demo.classifier import fashion_classifier
from genie_samplers.demo.data import fashion_mnist

from ..samplers.command_line import write_idx

ROOT = Path(__file__).parents[2]
ASSETS = ROOT / "python" / "genie_samplers" / "demo" / "assets"


def script(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(ROOT / "benchmarks" / "train_embedded.sh"), *arguments]
    return subprocess.run(command, env=os.environ | {"PYTHON": sys.executable}, capture_output=True, text=True)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for split in ("train", "t10k"):
        write_idx(tmp_path / f"{split}-images-idx3-ubyte.gz", rng.integers(0, 256, (30, 28, 28)))
        write_idx(tmp_path / f"{split}-labels-idx1-ubyte.gz", np.arange(30) % 10)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "train-images-idx3-ubyte.gz is not there; give the folder of Fashion-MNIST's files"),
        (["--fast", "1"], "--fast: unknown option"),
        (["--steps"], "--steps: needs a value"),
        (["--only", "train,heads"], "--only heads: choose of train head pictures frechet"),
    ],
    ids=["data", "option", "value", "step"],
)
def test_what_cannot_be_done_is_said(arguments: list[str], message: str) -> None:
    done = script(*arguments)
    assert done.returncode == 2
    assert message in done.stderr


def test_a_step_runs_by_itself(data: Path) -> None:
    """The dearer ones, training and distillation, are the commands that tests/samplers run."""
    out = data / "out"
    (out / "network").mkdir(parents=True)
    for name in ("config.json", "genie_network.json", "diffusion_pytorch_model.safetensors"):
        (out / "network" / name).symlink_to(ASSETS / name)
    done = script("--data", str(data), "--device", "cpu", "--quick", "--only", "frechet", "--out", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    with (out / "frechet.csv").open(newline="") as file:
        old, new = csv.DictReader(file)
    assert (old.pop("network"), new.pop("network")) == (str(ASSETS), str(out / "network"))
    assert old == new, "the same weights, from the same latents"


def test_the_distance_is_that_of_the_quality_page(data: Path) -> None:
    out = data / "networks.csv"
    main(["--network", str(ASSETS), "--nfe", "2", "--count", "20", "--data", str(data), "--out", str(out)])
    with out.open(newline="") as file:
        (line,) = csv.DictReader(file)
    model = gs.demo.embedded()
    plan = gs.make_plan("auto", gs.schedules.vp_linear(), 2)
    classes = torch.arange(20) % 10
    x = gs.sample(model, plan, shape=(20, 1, 28, 28), seed=0, cond={"class_labels": classes}, progress=False)
    distance = FrechetDistance(PixelFeatures(fashion_classifier()), mirrored(fashion_mnist("train", data)))
    assert float(line["frechet"]) == pytest.approx(distance.to(to_pixels(x.numpy())), rel=0.005)  # three digits
    assert (line["solver"], line["evaluations"], line["samples"]) == (plan.recipe.solver, "2", "20")  # type: ignore[union-attr]
