"""What a distillation is given: refused by name where it makes no head, and brought to the network where it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import genie_samplers as gs
from genie_samplers import genie
from genie_samplers.predictions import PREDICTIONS

from ..command_line import refused
from .heads import SCHEDULE, correction_head, data, head, model

pytest.importorskip("diffusers", reason="the network is a diffusers UNet2DModel")
pytestmark = pytest.mark.usefixtures("coarse_trajectories")

OPTIONS = genie.DistillOptions(
    steps=1, batch_size=4, chunk_size=2, warmup_steps=1, target="pointwise", trajectories=2, grids=("karras",)
)
IMAGES = data().images


def changed(change: Callable[[Any], object]) -> gs.models.WrappedModel:
    made = model()
    change(made.network)
    return made


@pytest.mark.parametrize(
    "make",
    [
        genie.exact,
        lambda model: genie.with_head(model, head()),
        lambda model: genie.Distiller(Path("never made"), model, data(), OPTIONS),
    ],
    ids=["exact", "with_head", "Distiller"],
)
def test_a_network_whose_input_is_scaled_beside_its_label_has_no_derivative(make: Callable[[Any], object]) -> None:
    network: Any = model().network
    scaled = gs.models.wrap(network, SCHEDULE, input_scale=gs.models.INPUTS["unit_variance"](SCHEDULE))
    with pytest.raises(ValueError, match=r"model: its label is of shape \(1, 2\) for one time, .*call= that scales x"):
        make(scaled)
    with pytest.raises(ValueError, match=r"shape \(1, 2\) for 1 times.* in place of wrap's input_scale= give a call="):
        genie.total_derivative(scaled, torch.zeros(1, 2, 8, 8), 0.5)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"chunk_size": 0}, ValueError, "chunk_size=0: give 1 or more"),
        ({"chunk_size": -2}, ValueError, "chunk_size=-2: give 1 or more"),
        ({"chunk_size": 3}, ValueError, "batch_size=4: give a multiple of chunk_size=3"),
        ({"batch_size": 4.0}, TypeError, "batch_size=4.0: give an integer"),
        ({"warmup_steps": 0}, ValueError, "warmup_steps=0"),
        ({"save_every": 0}, ValueError, "save_every=0"),
        ({"steps": -1}, ValueError, "steps=-1"),
        ({"seed": -1}, ValueError, "seed=-1"),
        ({"learning_rate": 0.0}, ValueError, "learning_rate=0.0"),
        ({"learning_rate": float("nan")}, ValueError, "learning_rate=nan"),
        ({"ema_decay": 1.5}, ValueError, "ema_decay=1.5: give a number in 0..1"),
        ({"ema_decay": "0.9"}, TypeError, "ema_decay='0.9': give a real number"),
        ({"decay_fraction": -0.5}, ValueError, "decay_fraction=-0.5: give a number in 0..1"),
        ({"decay_fraction": float("nan")}, ValueError, "decay_fraction=nan: give a number in 0..1"),
        ({"target": "global"}, ValueError, "target='global'"),
        ({"nfes": ()}, ValueError, "nfes=()"),
        ({"values": 2}, ValueError, "values=2"),
        ({"values": (5,)}, ValueError, "values=5"),
        ({"values": ("2",)}, TypeError, "values='2'"),
        ({"nfes": (0,)}, ValueError, "nfes=0: give 1 or more"),
        ({"grids": ("even",)}, ValueError, "grids='even'"),
        ({"weighting": "none at all"}, ValueError, "weighting='none at all'"),
        ({"target": "step", "gamma_max": 3.0}, ValueError, "gamma_max=3.0: has no part in target='step'"),
    ],
)
def test_options_that_make_no_run_are_named(options, error, message):
    with pytest.raises(error, match=message):
        replace(OPTIONS, **options)


@pytest.mark.parametrize(
    ("given", "options", "error", "message"),
    [
        (changed(lambda n: n.train()), {}, ValueError, r"training mode.*network.eval\(\)"),
        (changed(lambda n: n.half()), {}, ValueError, "torch.float16; load it in float32"),
        (changed(lambda n: n.double()), {}, ValueError, "torch.float64; load it in float32"),
        (gs.models.wrap(lambda x, t: x, SCHEDULE), {}, TypeError, "model: wraps a function"),
        (model(), {"width": 0}, ValueError, "width=0: give 1 or more"),
        (model(), {"gamma_max": 1e-3}, ValueError, "gamma_max=0.001: give more than 0.0105"),
    ],
    ids=["training", "half", "double", "function", "width", "gamma-max"],
)
def test_what_makes_no_head_is_named(tmp_path, given, options, error, message):
    with pytest.raises(error, match=message):
        genie.Distiller(tmp_path, given, data(), replace(OPTIONS, **options))


def test_images_of_other_channels_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"data: images \(4, 3, 8, 8\); the network has 2 channels"):
        genie.Distiller(tmp_path, model(), genie.Data(torch.zeros(4, 3, 8, 8), {}, {}), OPTIONS)


@pytest.mark.parametrize(
    ("images", "cond", "null", "error", "message"),
    [
        (IMAGES[:0], {}, {}, ValueError, r"images: shape \(0, 2, 8, 8\)"),
        (IMAGES.int(), {}, {}, TypeError, "images: torch.int32"),
        (IMAGES / 0.0, {}, {}, ValueError, "images: hold inf or NaN"),
        (IMAGES, {"c": torch.zeros(3)}, {}, ValueError, r"cond\['c'\]: shape \(3,\); give one entry for each of 12"),
        (IMAGES, {}, {"c": 1}, ValueError, r"null\['c'\]: replaces nothing"),
    ],
    ids=["none", "integers", "infinite", "cond", "null"],
)
def test_data_that_cannot_be_learned_from_are_named(images, cond, null, error, message):
    with pytest.raises(error, match=message):
        genie.Data(images, cond, null)


@pytest.mark.parametrize("mirror", [True, False])
def test_images_are_mirrored_only_where_that_makes_images(mirror):
    images, _ = replace(data(), mirror=mirror).draw(np.random.default_rng(0), 40)
    kept = (images[:, None] == IMAGES).flatten(2).all(2).any(1)
    turned = (images[:, None] == IMAGES.flip(-1)).flatten(2).all(2).any(1)
    assert (kept ^ turned).all()
    assert bool(turned.any()) == mirror


def test_initial_weights_leave_the_generator_of_torch_alone(tmp_path):
    given = model()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    genie.Distiller(tmp_path, given, data(), replace(OPTIONS, seed=1))
    assert torch.equal(torch.rand(3), expected)


def test_initial_weights_are_those_of_the_seed(tmp_path):
    run = genie.Distiller(tmp_path, model(), data(), replace(OPTIONS, seed=1))
    torch.manual_seed(1)
    expected = genie.GenieHead(run.network.config)  # type: ignore[arg-type]
    found = run.network.state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.state_dict().items())


def test_conditioning_of_any_shape_is_replaced_sample_by_sample():
    rows = torch.arange(1.0, 13.0)[:, None].expand(12, 400)
    _, cond = replace(data(), cond={"c": rows}, null={"c": 0.0}, dropout=0.5).draw(np.random.default_rng(0), 400)
    dropped = cond["c"] == 0.0
    assert torch.equal(dropped, dropped[:, :1].expand(400, 400))
    assert 0.4 < float(dropped[:, 0].double().mean()) < 0.6


@pytest.mark.parametrize("target", ["pointwise", "step"])
def test_a_network_whose_weights_can_be_trained_is_left_alone(tmp_path, target):
    options = replace(OPTIONS, target=target, nfes=(4,))
    trainable = changed(lambda n: n.requires_grad_(True))
    runs = [genie.Distiller(tmp_path / str(n), m, data(), options) for n, m in enumerate((trainable, model()))]
    losses = [run.take_step() for run in runs]
    assert losses[0] == losses[1]
    assert all(p.grad is None for p in trainable.network.parameters())  # type: ignore[attr-defined]


def test_pointwise_targets_lie_on_the_device_of_the_network():
    elsewhere = changed(lambda n: n.to("meta"))
    config = genie.HeadConfig.of(elsewhere.network)  # type: ignore[arg-type]
    at = genie.PointwiseTargets(elsewhere, config, data(), 3, SCHEDULE.t_end, SCHEDULE.t_max, 0).chunk(0)
    tensors = (*at.inputs, at.target, at.gamma)
    assert {tensor.device.type for tensor in tensors} == {"meta"}


@pytest.mark.parametrize(
    ("batch_size", "largest", "fits", "expected"),
    [(64, 16, 100, 16), (64, 16, 15, 8), (15, 15, 14, 5), (15, 15, 4, 3), (7, 7, 6, 1), (64, 16, 0, 1), (6, 4, 9, 4)],
)
def test_chunks_are_made_smaller_to_fit_and_still_fill_the_batch(batch_size, largest, fits, expected):
    assert genie.fitting_chunk_size(batch_size, largest, 10, 10 * fits) == expected


@pytest.mark.parametrize(("target", "made"), [("pointwise", head), ("step", correction_head)])
def test_the_card_names_what_the_target_was_made_of(target, made):
    head = made()
    options = replace(OPTIONS, target=target, nfes=(4,), gamma_max=9.0 if target == "pointwise" else None)
    source = genie.targets_of(model(), head.config, data(), options, 1)
    found = genie.report(
        genie.with_head(model(), head), source, shape=(2, 2, 8, 8), chunks=1, solvers=["ddim"], nfes=[3]
    )
    card = genie.card(head, options, found)
    assert ("| gamma_max | 9.0 |" in card) == (target == "pointwise")
    assert ("| nfes | (4,) |" in card) == (target == "step")


@pytest.mark.parametrize(
    "prediction", [p if p in ("epsilon", "v") else pytest.param(p, marks=pytest.mark.product) for p in PREDICTIONS]
)
def test_a_report_is_of_what_the_network_predicts(prediction):
    head = genie.GenieHead(genie.HeadConfig.of(model().network))  # type: ignore[arg-type]
    headed = genie.with_head(model(prediction), head)
    source = genie.targets_of(headed.model, head.config, data(), OPTIONS, 1)
    found = genie.report(headed, source, shape=(2, 2, 8, 8), chunks=1, solvers=["genie_ttm2"], nfes=[4])
    assert found.bands and found.comparison.cell("genie_ttm2", 4) is not None


@pytest.fixture
def network(tmp_path: Path) -> Path:
    model().network.save_pretrained(tmp_path / "network")  # type: ignore[attr-defined]
    return tmp_path / "network"


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (IMAGES[:, :1], "float32 (12, 1, 8, 8); need floats [N, 2, 8, 8]"),
        (IMAGES[:, 0], "float32 (12, 8, 8); need floats [N, 2, 8, 8]"),
        (IMAGES.int(), "int32 (12, 2, 8, 8); need floats [N, 2, 8, 8]"),
        (IMAGES[:0], "float32 (0, 2, 8, 8); need floats [N, 2, 8, 8], N 1 or more"),
        (IMAGES / 0.0, "holds inf or NaN; leave those samples out"),
    ],
    ids=["channels", "3-D", "integers", "none", "infinite"],
)
def test_the_command_names_bad_images(tmp_path, network, images, message):
    np.save(tmp_path / "images.npy", images.numpy())
    arguments = ("--network", network, "--images", tmp_path / "images.npy", "--run", tmp_path / "run", "--steps", 1)
    assert message in refused("distill", *arguments, "--schedule", "vp_linear")


def test_the_command_names_a_file_that_holds_no_array(tmp_path, network):
    (tmp_path / "images.npy").write_bytes(b"nothing")
    arguments = ("--network", network, "--images", tmp_path / "images.npy", "--run", tmp_path / "run")
    arguments = (*arguments, "--schedule", "vp_linear")
    assert "images.npy: cannot be read" in refused("distill", *arguments)
