"""`sample --out FOLDER/`: a file of each sample, with the bits that it has in any run, one batch held at a time."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import genie_samplers as gs
from genie_samplers.cli import batches, images

from .command_line import refused, run
from .network_folders import save_unet

pytest.importorskip("diffusers", reason="the networks are diffusers U-Nets")

SCHEDULE = gs.schedules.vp_cosine()


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of coloured 8x8 pictures with three classes."""
    folder = save_unet(tmp_path_factory.mktemp("coloured") / "unet")
    gs.models.write_description(folder, SCHEDULE, "epsilon", "schedule")
    return folder


@pytest.fixture(scope="module")
def latent_network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of samples of four channels."""
    folder = save_unet(tmp_path_factory.mktemp("latents") / "unet", in_channels=4, out_channels=4)
    gs.models.write_description(folder, SCHEDULE, "epsilon", "schedule")
    return folder


def options(network: Path, count: int = 5) -> tuple[object, ...]:
    return ("--network", network, "--solver", "ddim", "--nfe", 2, "--batch-size", 2, "--seed", 4, "--count", count)


def expected(network: Path, count: int = 5) -> torch.Tensor:
    model = gs.models.load(network)
    cond = {"class_labels": torch.arange(count) % 3}
    shape = (count, model.network.config["in_channels"], 8, 8)  # type: ignore[union-attr]
    return gs.sample(model, gs.make_plan("ddim", SCHEDULE, 2), shape=shape, seed=4, cond=cond, batch_size=2)


def test_each_sample_is_a_picture_of_its_id(network: Path, tmp_path: Path) -> None:
    out = tmp_path / "made"
    assert f"{out}: 5 images, ddim, 2 evaluations" in run("sample", *options(network), "--out", f"{out}/")
    names = [f"{number:05d}.png" for number in range(5)]
    assert sorted(path.name for path in out.iterdir()) == [*names, "plan.json"]
    shown = np.stack([np.asarray(Image.open(out / name)) for name in names])
    assert np.array_equal(shown, images.to_pixels(expected(network).numpy()))
    assert gs.Plan.from_json((out / "plan.json").read_text()) == gs.make_plan("ddim", SCHEDULE, 2)
    told = Image.open(out / names[4]).info
    assert (told["seed"], told["sample_id"], told["class"], told["solver"]) == ("4", "4", "1", "ddim")


def test_a_name_without_suffix_is_a_folder_and_one_with_a_slash_too(network: Path, tmp_path: Path) -> None:
    run("sample", *options(network, 1), "--out", tmp_path / "plain")
    run("sample", *options(network, 1), "--out", f"{tmp_path}/v1.5/")
    assert (tmp_path / "plain" / "00000.png").exists() and (tmp_path / "v1.5" / "00000.png").exists()


def test_samples_of_four_channels_are_written_as_safetensors(latent_network: Path, tmp_path: Path) -> None:
    run("sample", *options(latent_network, 3), "--out", tmp_path / "made")
    found = [load_file(tmp_path / "made" / f"0000{number}.safetensors")["latents"] for number in range(3)]
    assert torch.equal(torch.stack(found), expected(latent_network, 3))


@pytest.mark.parametrize("form", ["npz", "safetensors"])
def test_pictures_are_written_as_arrays_where_asked_for(form: str, network: Path, tmp_path: Path) -> None:
    run("sample", *options(network, 2), "--format", form, "--out", tmp_path / "made")
    path = tmp_path / "made" / f"00001.{form}"
    found = np.load(path)["latents"] if form == "npz" else load_file(path)["latents"].numpy()
    assert np.array_equal(found, expected(network, 2)[1].numpy())


def test_four_channels_make_no_pictures(latent_network: Path, tmp_path: Path) -> None:
    text = refused("sample", *options(latent_network), "--format", "png", "--out", tmp_path / "made")
    assert "--network: has 4 channels, a picture 1 or 3" in text and list(tmp_path.iterdir()) == []


def test_no_batch_is_held_when_the_next_is_made(network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[weakref.ref[torch.Tensor]] = []
    alive: list[int] = []
    real = batches.sample

    def watched(*arguments: Any, **given: Any) -> torch.Tensor:
        gc.collect()
        alive.append(sum(kept() is not None for kept in made))
        x = real(*arguments, **given)
        made.append(weakref.ref(x))
        return x

    monkeypatch.setattr(batches, "sample", watched)
    run("sample", *options(network, 8), "--out", tmp_path / "made")
    assert len(alive) == 4 and max(alive) <= 1


def test_what_was_sampled_before_a_failure_is_there_and_whole(
    network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = batches.sample

    def fails_in_the_second(*arguments: Any, sample_ids: range, **given: Any) -> torch.Tensor:
        if 2 in sample_ids:
            raise RuntimeError("out of memory")
        return real(*arguments, sample_ids=sample_ids, **given)

    monkeypatch.setattr(batches, "sample", fails_in_the_second)
    assert "out of memory" in refused("sample", *options(network), "--out", tmp_path / "made")
    found = sorted(path.name for path in (tmp_path / "made").iterdir())
    assert found == ["00000.png", "00001.png", "plan.json"]
