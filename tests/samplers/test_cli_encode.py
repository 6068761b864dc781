"""genie-samplers encode and interpolate on the embedded network."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import genie_samplers as gs
from genie_ext.testing import assert_same_bits
from genie_samplers.cli import encode as encode_file
from genie_samplers.cli import images
from genie_samplers.cli import interpolate as interpolate_file
from genie_samplers.cli.files import read_images, read_latents

from .command_line import refused, run, write_idx

pytest.importorskip("diffusers", reason="the embedded network is a diffusers UNet2DModel")

SHAPE = (1, 28, 28)
GREY = np.arange(5 * 28 * 28, dtype=np.int64).reshape(5, 28, 28) % 256


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    root.mkdir()
    write_idx(root / "t10k-images-idx3-ubyte.gz", GREY)
    write_idx(root / "t10k-labels-idx1-ubyte.gz", np.arange(5))
    return root


def report(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_encode_writes_a_picture_the_latents_and_the_errors(tmp_path: Path, dataset: Path) -> None:
    out = tmp_path / "e.png"
    text = run("encode", "--data", dataset, "--count", 2, "--nfe", "2,4", "--solver", "ddim", "--out", out)
    assert "2 images" in text
    rows = report(tmp_path / "e.csv")
    assert [(row["solver"], row["nfe"]) for row in rows] == [("ddim", "2"), ("ddim", "4")]
    assert all(float(row["mse"]) > 0 and float(row["latent_rms"]) > 0 for row in rows)
    assert float(rows[1]["gaussian_mse"]) < float(rows[0]["gaussian_mse"])
    assert np.load(tmp_path / "e.npy").shape == (2, 1, 28, 28)
    assert Image.open(out).info["solver"] == "ddim"


def test_the_latents_are_those_of_encode_at_the_last_number_of_evaluations(tmp_path: Path, dataset: Path) -> None:
    file, grey = tmp_path / "latents.safetensors", tmp_path / "grey.npy"
    np.save(grey, GREY[:2].astype(np.uint8))
    given = ("--solver", "ddim", "--batch-size", 2, "--class", "bag", "--latents", file)
    run("encode", "--images", grey, "--nfe", "3,2", *given, "--out", tmp_path / "e.png")
    plan = gs.make_plan("ddim", gs.schedules.vp_linear(), 2, direction="encode")
    originals = torch.from_numpy(read_images([grey], SHAPE))
    cond = {"class_labels": torch.full((2,), 8)}
    expected = gs.encode(gs.demo.embedded(), plan, state=originals, cond=cond, batch_size=2)
    assert_same_bits(load_file(file)["latents"], expected)
    assert_same_bits(read_latents(file, SHAPE), expected)


def test_images_are_read_alike_from_every_kind_of_file(tmp_path: Path) -> None:
    scaled = (GREY[:2, None] / 127.5 - 1.0).astype(np.float32)
    one, arrays, signed, floats = (tmp_path / name for name in ("1.png", "a.npy", "s.npy", "f.npy"))
    Image.fromarray(GREY[0].astype(np.uint8)).save(one)
    np.save(arrays, GREY[:2].astype(np.uint8))
    np.save(signed, GREY[0])
    np.save(floats, scaled)
    expected = np.concatenate([scaled[:1], scaled, scaled[:1], scaled])
    found = read_images([one, arrays, signed, floats], SHAPE)
    assert_same_bits(torch.from_numpy(found), torch.from_numpy(expected))


def test_noised_images_have_no_error_on_gaussian_data(tmp_path: Path, dataset: Path) -> None:
    arguments = ("--data", dataset, "--count", 1, "--nfe", 1, "--solver", "ddim", "--seed", 0)
    run("encode", *arguments, "--out", tmp_path / "e.png")
    assert [row["gaussian_mse"] for row in report(tmp_path / "e.csv")] == [""]


def test_what_ran_is_written_where_a_later_number_of_evaluations_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dataset: Path
) -> None:
    real = encode_file.reconstruct

    def fail_at_three(model: Any, plan: gs.Plan, *arguments: Any, **options: Any) -> Any:
        if plan.nfe == 3:
            raise ValueError("model: the state became inf or NaN")
        return real(model, plan, *arguments, **options)

    monkeypatch.setattr(encode_file, "reconstruct", fail_at_three)
    out = tmp_path / "e.png"
    arguments = ("--data", dataset, "--count", 1, "--nfe", "2,3", "--solver", "ddim")
    assert "the state became inf or NaN" in refused("encode", *arguments, "--out", out)
    assert [row["nfe"] for row in report(tmp_path / "e.csv")] == ["2"]
    assert np.load(tmp_path / "e.npy").shape == (1, 1, 28, 28)
    assert Image.open(out).info["nfe"] == "2"


def test_images_take_their_own_number_whatever_the_count(tmp_path: Path) -> None:
    grey = tmp_path / "grey.npy"
    np.save(grey, GREY.astype(np.uint8))
    arguments = ("--images", grey, "--images", grey, "--count", 1, "--solver", "ddim", "--nfe", 1)
    assert "10 images" in run("encode", *arguments, "--out", tmp_path / "e.png")


def test_the_corners_of_a_grid_are_the_samples_of_the_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(interpolate_file, "sample", lambda *a, **k: seen.append(gs.sample(*a, **k)) or seen[-1])
    out = tmp_path / "i.png"
    given = ("--rows", 2, "--columns", 3, "--class", 8, "--solver", "deis_tab2", "--nfe", 2)
    arguments = (*given, "--seed", 3, "--batch-size", 2)
    assert "2 x 3 images between four latents (seed 3)" in run("interpolate", *arguments, "--out", out)
    plan = gs.make_plan("deis_tab2", gs.schedules.vp_linear(), 2)
    samples = gs.sample(
        gs.demo.embedded(), plan, shape=(4, 1, 28, 28), seed=3, cond={"class_labels": torch.full((4,), 8)},
        batch_size=2,
    )  # fmt: skip
    assert_same_bits(seen[0][[0, 2, 3, 5]], samples)
    assert Image.open(out).size[0] >= 2 * (3 * 29 - 1)


@pytest.mark.parametrize("suffix", [".npy", ".safetensors"])
def test_a_grid_runs_between_the_latents_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dataset: Path, suffix: str
) -> None:
    starts, file = [], tmp_path / f"latents{suffix}"
    monkeypatch.setattr(interpolate_file, "sample", lambda *_, state, **__: starts.append(state) or state)
    run("encode", "--data", dataset, "--count", 5, "--solver", "ddim", "--nfe", 1, "--latents", file, "--out",
        tmp_path / "e.png")  # fmt: skip
    run("interpolate", "--latents", file, "--rows", 2, "--columns", 2, "--out", tmp_path / "i.png")
    assert_same_bits(starts[0], read_latents(file, SHAPE)[:4])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("encode --count 0", "'--count': 0 is not in the range 1<=x"),
        ("encode --nfe abc", "'--nfe': 'abc'; give integers of 1 or more separated by commas"),
        ("encode --nfe 4,0", "'--nfe': '4,0'; give integers of 1 or more"),
        ("encode --solver edm_heun --nfe 5", "nfe=5; edm_heun makes 4 evaluations"),
        ("encode --class hat", "--class 'hat'"),
        ("encode --out e.jpg", "out='e.jpg'; need a name that ends in .png"),
        ("encode --latents e.pt", "--latents e.pt; need a name that ends in .npy or .safetensors"),
        ("encode --images small.npy", "small.npy: uint8 (3, 3); need integers or floats [N, 1, 28, 28]"),
        ("encode --images complex.npy", "complex.npy: complex128 (1, 28, 28); need integers or floats [N, 1, 28, 28]"),
        ("encode --images rgb.npy", "rgb.npy: uint8 (2, 3, 28, 28); need integers or floats [N, 1, 28, 28]"),
        ("encode --images none.npy", "none.npy: uint8 (0, 28, 28); need integers or floats [N, 1, 28, 28]"),
        ("encode --images negative.npy", "negative.npy: integers -1..-1; need 0..255"),
        ("encode --images deep.npy", "deep.npy: integers 256..256; need 0..255"),
        ("encode --images scaled.npy", "scaled.npy: floats 255.0..255.0; need -1..1"),
        ("encode --images nan.npy", "nan.npy: floats nan..nan; need -1..1"),
        ("encode --images zip.npy", "zip.npy: cannot be read"),
        ("encode --images empty.npy", "empty.npy: cannot be read"),
        ("encode --images grey.npy --out grey.png", "grey.npy: would overwrite an input"),
        ("encode --images link.npy --out grey.png", "grey.npy: would overwrite an input"),
        ("encode --images text.png --out text.png", "text.png: would overwrite an input"),
        ("interpolate --latents text.png --out ./text.png", "text.png: would overwrite an input"),
        ("interpolate --latents broken.safetensors", "broken.safetensors: cannot be read"),
        ("interpolate --latents zip.npy", "zip.npy: cannot be read"),
        ("encode --images text.png", "text.png: cannot be read"),
        (
            "encode --data .",
            "--data .: holds no Fashion-MNIST; --images FOLDER takes your own",
        ),
        ("encode --device gpu", "--device gpu: "),
        ("interpolate --rows 1", "'--rows': 1 is not in the range 2<=x"),
        ("interpolate --latents small.npy", "small.npy: torch.uint8 (3, 3); need floats [N, 1, 28, 28]"),
        ("interpolate --latents three.npy", "corners: (3, 1, 28, 28); give four latents [4, ...]"),
        ("interpolate --latents other.safetensors", "other.safetensors: holds ['x'], not 'latents'"),
        ("interpolate --seed -1", "'--seed': -1 is not in the range 0<=x"),
        ("interpolate --class hat", "--class 'hat'"),
        ("interpolate --out i.csv", "out='i.csv'; need a name that ends in .png"),
    ],
)
def test_bad_input_ends_with_its_message_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: str, message: str
) -> None:
    from safetensors.torch import save_file

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(gs.Program, "of", lambda *_, **__: pytest.fail("the sampler was started"))
    np.save("small.npy", np.zeros((3, 3), np.uint8))
    for name, value in {"complex": 0j, "negative": -1, "deep": 256, "scaled": 255.0, "nan": np.nan}.items():
        np.save(f"{name}.npy", np.full((1, 28, 28), value))
    np.save("rgb.npy", np.zeros((2, 3, 28, 28), np.uint8))
    np.save("none.npy", np.zeros((0, 28, 28), np.uint8))
    np.save("grey.npy", GREY.astype(np.uint8))
    Path("link.npy").symlink_to("grey.npy")
    np.savez("zip.npz", np.zeros((1, 28, 28)))
    Path("zip.npz").rename("zip.npy")
    Path("empty.npy").touch()
    Path("broken.safetensors").write_bytes(b"\x00" * 4)
    np.save("three.npy", np.ones((3, 1, 28, 28), np.float32))
    save_file({"x": torch.zeros(1)}, "other.safetensors")
    Path("text.png").write_text("no picture")
    assert message in refused(*arguments.split())


def test_the_picture_shows_the_first_images_above_what_they_become(tmp_path: Path, dataset: Path) -> None:
    run("encode", "--data", dataset, "--count", 2, "--solver", "ddim", "--nfe", 1, "--out", tmp_path / "e.png")
    page = np.asarray(Image.open(tmp_path / "e.png").convert("L"))
    first = images.labelled_table([[GREY[0].astype(np.uint8)[..., None]]], ["1 + 1 evaluations"], [""])
    shown = np.asarray(first.convert("L"))[: 25 + 2 * 28]
    assert encode_file.__name__ == "genie_samplers.cli.encode"
    assert np.array_equal(page[25 : 25 + 56, shown.shape[1] - 62 :][:, :56], shown[25 : 25 + 56, -62:][:, :56])
