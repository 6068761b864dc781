"""Where commands take their pictures from: the user's files and folders, Fashion-MNIST, and small sets to try."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import genie_samplers as gs
from genie_samplers import genie
from genie_samplers.cli.network import Chosen
from genie_samplers.cli.source import Source
from genie_samplers.demo import data
from genie_samplers.demo import samples as samples_file
from genie_samplers.demo.samples import photos, samples

from .command_line import refused, run, write_idx
from .network_folders import save_pipeline, save_unet

pytest.importorskip("diffusers", reason="the networks are diffusers U-Nets")

EMBEDDED = Chosen(None, None, None, None, "cpu")
WAYS = ("--images FOLDER", "--data FOLDER", "dataset-fashion-mnist", "--data samples", "--data photos")


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of coloured 8x8 pictures with three classes."""
    folder = save_unet(tmp_path_factory.mktemp("coloured") / "unet")
    gs.models.write_description(folder, gs.schedules.vp_linear(), "epsilon", "log_gamma")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of pictures of many sizes."""
    home = tmp_path / "pictures"
    home.mkdir()
    rng = np.random.default_rng(0)
    for number, size in enumerate([(30, 20, 3), (9, 9, 3), (12, 40, 3), (8, 8, 3)]):
        Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8)).save(home / f"{number}.png")
    return home


@pytest.fixture
def scikit_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed scikit-image with small photos."""
    home = tmp_path / "installed" / "skimage"
    (home / "data").mkdir(parents=True)
    (home / "__init__.py").write_text("raise ImportError('its photos need no import')")
    for name in samples_file._PHOTOS:
        Image.new("RGB", (20, 12), (200, 100, 0)).save(home / "data" / name)
    monkeypatch.syspath_prepend(str(home.parent))


def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "has_fashion_mnist", lambda root=None: False)


def test_the_samples_of_the_package_are_a_dozen_of_each_class() -> None:
    found = samples()
    assert found.images.shape == (120, 1, 28, 28) and np.abs(found.images).max() <= 1.0
    assert np.array_equal(np.bincount(found.labels), np.full(10, 12))
    assert len(np.unique(found.images, axis=0)) == 120


@pytest.mark.usefixtures("scikit_image")
@pytest.mark.parametrize("shape", [(3, 6, 6), (1, 4, 5)])
def test_photos_are_those_of_scikit_image_in_the_form_of_the_network(shape: tuple[int, int, int]) -> None:
    found = photos(shape)
    assert found.shape == (48, *shape) and found.dtype == np.float32
    assert "skimage" not in sys.modules


def test_photos_without_scikit_image_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage", None)
    text = refused("encode", "--data", "photos")
    assert "needs scikit-image: pip install scikit-image" in text


def test_without_fashion_mnist_the_samples_are_taken_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing_installed(monkeypatch)
    found = Source((), None).load(EMBEDDED, "test")
    assert found.source == "samples" and found.images.shape == (12, 1, 28, 28)
    said = capsys.readouterr().err
    assert said.startswith("data: samples of the embedded network, for no Fashion-MNIST is installed")
    assert [way for way in WAYS if way not in said] == []


def test_fashion_mnist_is_taken_where_it_lies(tmp_path: Path) -> None:
    for split, count in (("train", 4), ("t10k", 2)):
        write_idx(tmp_path / f"{split}-images-idx3-ubyte.gz", np.zeros((count, 28, 28)))
        write_idx(tmp_path / f"{split}-labels-idx1-ubyte.gz", np.arange(count))
    loaded = [Source((), str(tmp_path)).load(EMBEDDED, split) for split in ("train", "test")]
    assert [len(found.images) for found in loaded] == [4, 2]
    assert loaded[0].labels is not None and loaded[0].labels.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("command", ["encode", "distill --run run", "train --run run"])
def test_missing_data_names_every_way_to_get_some(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = refused(*command.split(), "--data", "nowhere")
    assert "--data nowhere: holds no Fashion-MNIST" in text
    assert [way for way in WAYS if way not in text] == []


def test_what_another_network_was_trained_on_is_not_guessed(network: Path) -> None:
    text = refused("encode", "--network", network)
    assert "--images: needed, what unet was trained on nobody else knows" in text
    assert [way for way in WAYS if way not in text] == []


def test_two_sources_are_one_too_many(folder: Path) -> None:
    text = refused("encode", "--images", folder, "--data", "samples")
    assert "--data samples: --images" in text and "leave one of the two out" in text


def test_one_tenth_of_many_pictures_is_held_out_and_of_few_none(folder: Path) -> None:
    training, held_out = (Source((), "samples").load(EMBEDDED, split) for split in ("train", "test"))
    assert (len(training.images), len(held_out.images)) == (108, 12)
    together = np.concatenate([training.images, held_out.images])
    assert len(np.unique(together, axis=0)) == 120
    assert len(Source((), "samples").load(EMBEDDED, "all").images) == 120
    few = [Source((folder,), None).load(EMBEDDED, split) for split in ("train", "test")]
    assert np.array_equal(few[0].images, few[1].images) and few[0].labels is None


def test_a_data_set_is_brought_to_the_form_of_another_network_without_its_classes(network: Path) -> None:
    found = Source((), "samples").load(Chosen(network, None, None, None, "cpu"), "test", 3)
    assert found.images.shape == (3, 3, 8, 8) and found.labels is None


# --- whole commands


def test_encode_takes_all_pictures_of_a_folder_and_the_first_of_a_set(network: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "many.npy", np.zeros((25, 3, 8, 8), np.uint8))
    given = ("--network", network, "--solver", "ddim", "--nfe", "1", "--count", 16, "--out", tmp_path / "e.png")
    assert "25 images (many.npy)" in run("encode", *given, "--images", tmp_path / "many.npy")
    assert "16 images (samples)" in run("encode", *given, "--data", "samples")


def test_encode_and_interpolate_run_on_any_network(network: Path, folder: Path, tmp_path: Path) -> None:
    given, out = ("--network", network, "--solver", "ddim"), tmp_path / "e.png"
    text = run("encode", *given, "--images", folder, "--nfe", "2", "--class", 1, "--batch-size", 4, "--out", out)
    assert "4 images (pictures)" in text
    latents = np.load(tmp_path / "e.npy")
    originals = torch.from_numpy(Source((folder,), None).load(Chosen(network, None, None, None, "cpu"), "test").images)
    model = gs.models.load(network)
    plan = gs.make_plan("ddim", model.schedule, 2, direction="encode")
    cond = {"class_labels": torch.full((4,), 1)}
    assert np.array_equal(latents, gs.encode(model, plan, state=originals, cond=cond, batch_size=4).numpy())
    with open(tmp_path / "e.csv", newline="") as file:
        assert [row["nfe"] for row in csv.DictReader(file)] == ["2"]
    between = tmp_path / "i.png"
    run(
        "interpolate",
        *given,
        "--latents",
        tmp_path / "e.npy",
        "--rows",
        2,
        "--columns",
        2,
        "--nfe",
        2,
        "--out",
        between,
    )
    assert Image.open(between).mode == "RGB"


@pytest.mark.parametrize("prediction", ["epsilon", "x0", "v", "flow"])
def test_a_network_is_trained_on_with_its_own_prediction(
    prediction: str, network: Path, folder: Path, tmp_path: Path
) -> None:
    given = ("--network", network, "--prediction", prediction, "--schedule", "vp_cosine", "--images", folder)
    arguments = ("--run", tmp_path / "run", "--steps", 1, "--batch-size", 2, "--export", tmp_path / "made")
    assert "averaged weights after 1 steps" in run("train", *given, *arguments)
    model = gs.models.load(tmp_path / "made")
    assert (model.schedule, model.outputs) == (gs.schedules.vp_cosine(), (prediction,))
    before = gs.models.load(network).network.state_dict()  # type: ignore[union-attr]
    after = model.network.state_dict()  # type: ignore[union-attr]
    assert before.keys() == after.keys()
    assert any(not torch.equal(value, after[name]) for name, value in before.items())


def test_a_head_is_distilled_on_a_folder_of_pictures(
    network: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    class Caught(Exception):
        pass

    def distiller(
        folder: Path, model: gs.models.WrappedModel, given: genie.Data, options: genie.DistillOptions
    ) -> None:
        seen.extend([model, given, options])
        raise Caught

    monkeypatch.setattr(genie, "Distiller", distiller)
    with pytest.raises(Caught):
        run("distill", "--network", network, "--images", folder, "--run", tmp_path / "run", "--batch-size", 4)
    model, given, options = seen
    assert given.images.shape == (4, 3, 8, 8) and given.cond == {}
    assert model.schedule == gs.schedules.vp_linear() and options.about.endswith("label log_gamma, on pictures")


@pytest.mark.parametrize(
    "command", ["sample", "compare", "encode", "interpolate", "diagnose", "calibrate grid", "distill --run run"]
)
def test_a_network_without_a_schedule_needs_one_named(command: str, tmp_path: Path) -> None:
    text = refused(*command.split(), "--network", save_unet(tmp_path / "unet"))
    assert "--schedule: nothing in" in text and "vp_linear, vp_cosine, sub_vp, edm, ve, flow" in text


def test_a_pipeline_runs_by_what_its_scheduler_says(tmp_path: Path) -> None:
    config = {"_class_name": "DDIMScheduler", "num_train_timesteps": 50, "prediction_type": "v_prediction"}
    folder = save_pipeline(tmp_path / "pipeline", config)
    run("sample", "--network", folder, "--solver", "ddim", "--nfe", 2, "--count", 1, "--out", tmp_path / "made")
    plan = gs.Plan.from_json((tmp_path / "made" / "plan.json").read_text())
    betas = gs.schedules.from_betas(gs.schedules.linear_betas(50))
    assert plan == gs.make_plan("ddim", betas, 2, prediction="v")


def test_a_pipeline_whose_scheduler_is_not_read_needs_the_schedule(tmp_path: Path) -> None:
    folder = save_pipeline(tmp_path / "pipeline", {"_class_name": "IPNDMScheduler"})
    text = refused("sample", "--network", folder)
    assert "IPNDMScheduler" in text and "give the network's own folder, and say schedule and prediction" in text


def test_noise_beyond_what_a_network_takes_is_not_trained_on(folder: Path, tmp_path: Path) -> None:
    text = refused("train", "--schedule", "edm", "--prediction", "v", "--images", folder, "--run", tmp_path / "run")
    assert "goes to sigma = 80; train with input='unit_variance' and the prediction epsilon" in text
    text = refused("train", "--prediction", "score", "--images", folder, "--run", tmp_path / "run")
    assert "prediction='score'; choose one of epsilon, x0, v, flow" in text
