"""Checkpoints, networks and heads that are not what they say: each is refused by name, from its header."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import genie_samplers as gs
from genie_samplers import files, genie
from genie_samplers.demo import data
from genie_samplers.training import RunOptions, TrainingRun

from .command_line import refused, write_idx

# --- checkpoints of training


@dataclass(frozen=True)
class Options(RunOptions):
    steps: int = 4
    learning_rate: float = 0.1
    warmup_steps: int = 1
    decay_fraction: float = 0.5
    ema_decay: float = 0.9
    betas: tuple[float, ...] = (0.5, 0.25)


class Run(TrainingRun):
    """A layer that learns to give zero."""

    def __init__(self, folder: Path, options: Options | None = None, width: int = 3, **adam: Any) -> None:
        network = nn.Linear(width, 2)
        nn.init.constant_(network.weight, 0.5)
        nn.init.zeros_(network.bias)
        super().__init__(folder, options or Options(), network, torch.optim.AdamW(network.parameters(), **adam))

    def take_step(self) -> float:
        loss = self.network(torch.arange(self.network.in_features) * 1.0).square().sum()  # type: ignore[operator]
        loss.backward()
        self.descend(self.options.rate(self.step))
        return loss.item()


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    run = Run(tmp_path)
    run.run(until=2)
    return run.checkpoint


def rewrite(path: Path, change: Callable[[dict[str, torch.Tensor], dict[str, str]], object]) -> None:
    """The same safetensors file with other tensors or metadata."""
    with files.open_tensors(path, "") as opened:
        tensors, metadata = opened.read(), dict(opened.metadata)
    change(tensors, metadata)
    save_file(tensors, path, metadata=metadata)


def edit_run(**changes: object) -> Callable[[dict[str, torch.Tensor], dict[str, str]], object]:
    return lambda _, metadata: metadata.update(run=json.dumps({**json.loads(metadata["run"]), **changes}))


@pytest.mark.parametrize("until", [0, 1, 2, 3])
def test_a_resumed_run_is_the_uninterrupted_one_to_the_bit(until: int, tmp_path: Path) -> None:
    whole = Run(tmp_path / "whole")
    whole.run()
    Run(tmp_path / "parts").run(until=until)
    resumed = Run(tmp_path / "parts")
    resumed.run()
    assert resumed.losses == whole.losses and resumed.step == 4
    assert load_file(resumed.checkpoint).keys() == load_file(whole.checkpoint).keys()
    assert resumed.checkpoint.read_bytes() == whole.checkpoint.read_bytes()


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_a_truncated_checkpoint_is_named(checkpoint: Path, kept: int) -> None:
    checkpoint.write_bytes(checkpoint.read_bytes()[:kept])
    with pytest.raises(ValueError, match=rf"{checkpoint}: cannot be read .*; restore it, or remove it to begin anew"):
        Run(checkpoint.parent)


def test_a_checkpoint_whose_header_claims_gigabytes_is_refused_by_its_header(checkpoint: Path) -> None:
    entry = {"losses": {"dtype": "F64", "shape": [2**40], "data_offsets": [0, 2**43]}}
    header = json.dumps(entry).encode()
    checkpoint.write_bytes(struct.pack("<Q", len(header)) + header + b"\x00" * 64)
    with pytest.raises(ValueError, match=rf"{checkpoint}: cannot be read"):
        Run(checkpoint.parent)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, m: t.pop("network.weight"), "weight is missing"),
        (lambda t, m: t.pop("average.bias"), "bias is missing"),
        (lambda t, m: t.update({"network.more": torch.ones(1)}), "more is unexpected"),
        (lambda t, m: t.update({"more": torch.ones(1)}), "more is unexpected"),
        (lambda t, m: t.update({"network.weight": torch.ones(2, 4)}), r"weight has shape \(2, 4\), not \(2, 3\)"),
        (lambda t, m: t.update({"average.weight": torch.ones(2, 3).double()}), "average.weight is torch.float64, not"),
        (lambda t, m: t.update({"optimizer.0.exp_avg": torch.ones(7)}), r"exp_avg of shape \(7,\) is unexpected"),
        (lambda t, m: t.update({"optimizer.9.exp_avg": torch.ones(2)}), "optimizer.9.exp_avg of shape"),
        (lambda t, m: t.update({"optimizer.x": torch.ones(2)}), "optimizer.x of shape"),
        (lambda t, m: t.pop("optimizer.0.exp_avg"), "remembers other things of one parameter than of another"),
        (lambda t, m: t.pop("losses"), "holds no step with its options and losses"),
        (lambda t, m: t.update(losses=torch.ones(5).double()), "holds no step with its options and losses"),
        (edit_run(step=-1), "holds no step"),
        (edit_run(step="2"), "holds no step"),
        (edit_run(options=3), "holds no step"),
        (edit_run(options={}), r"steps|learning_rate=0.1 \(checkpoint: None\)"),
        (edit_run(optimizer=None), "optimizer="),
        (lambda t, m: m.update(run="{"), "cannot be read"),
        (lambda t, m: m.update(run="[]"), "its metadata 'run' is no JSON object"),
        (lambda t, m: m.pop("run"), "its metadata has no 'run'"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused(checkpoint: Path, change: Any, message: str) -> None:
    rewrite(checkpoint, change)
    with pytest.raises(ValueError, match=rf"{checkpoint}: .*({message})"):
        Run(checkpoint.parent)


def test_a_run_is_not_resumed_with_an_optimiser_of_other_settings(checkpoint: Path) -> None:
    with pytest.raises(ValueError, match=r"optimizer=.*'weight_decay': 0\.5.*\(checkpoint: "):
        Run(checkpoint.parent, weight_decay=0.5)


def test_a_run_is_not_resumed_with_other_options_and_tuples_are_kept(checkpoint: Path) -> None:
    assert Run(checkpoint.parent).step == 2
    with pytest.raises(ValueError, match=r"betas=\[0\.5\] \(checkpoint: \[0\.5, 0\.25\]\)"):
        Run(checkpoint.parent, replace(Options(), betas=(0.5,)))


def test_what_a_killed_run_left_is_cleared_when_it_starts_again(checkpoint: Path) -> None:
    left = checkpoint.with_name(f".{checkpoint.name}.1a2b.partial.safetensors")
    left.touch()
    Run(checkpoint.parent)
    assert not left.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": -5}, "steps=-5: give 0 or more"),
        ({"seed": -1}, "seed=-1: give 0 or more"),
        ({"save_every": 0}, "save_every=0: give 1 or more"),
        ({"warmup_steps": 0}, "warmup_steps=0: give 1 or more"),
        ({"learning_rate": 0.0}, "learning_rate=0.0: give a finite number > 0"),
        ({"learning_rate": np.nan}, "learning_rate=nan: give a finite number > 0"),
        ({"ema_decay": 1.5}, r"ema_decay=1\.5: give a number in 0\.\.1"),
        ({"decay_fraction": -0.5}, r"decay_fraction=-0\.5: give a number in 0\.\.1"),
    ],
)
def test_options_that_make_no_run_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Options(**options)


def test_the_command_line_names_a_damaged_checkpoint(tmp_path: Path) -> None:
    pytest.importorskip("diffusers", reason="the network that is trained is a diffusers UNet2DModel")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoint.safetensors").write_bytes(b"\x80\x02")
    write_idx(tmp_path / "train-images-idx3-ubyte.gz", np.zeros((3, 28, 28)))
    write_idx(tmp_path / "train-labels-idx1-ubyte.gz", np.zeros(3))
    text = refused("train", "--run", tmp_path / "run", "--data", tmp_path, "--steps", 1)
    assert "checkpoint.safetensors: cannot be read" in text


# --- Fashion-MNIST


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((3, 28, 28)), np.zeros(2), "2 labels up to 0 for 3 images"),
        (np.zeros((3, 28, 28)), np.full(3, 10), "3 labels up to 10 for 3 images"),
        (np.zeros((0, 28, 28)), np.zeros(0), "0 labels up to 0 for 0 images"),
        (np.zeros((3, 28, 27)), np.zeros(3), r"its header says \(3, 28, 27\); need \[N, 28, 28\]"),
        (np.zeros((3, 28, 28)), np.zeros((3, 1)), r"its header says \(3, 1\); need \[N\]"),
    ],
)
def test_data_of_other_sizes_are_refused(images: Any, labels: Any, message: str, tmp_path: Path) -> None:
    write_idx(tmp_path / "train-images-idx3-ubyte.gz", images)
    write_idx(tmp_path / "train-labels-idx1-ubyte.gz", labels)
    with pytest.raises(ValueError, match=message):
        data.fashion_mnist(root=tmp_path)


def test_an_idx_file_whose_header_claims_gigabytes_is_refused_before_it_is_decompressed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gzip

    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(struct.pack(">BBBBIII", 0, 0, 8, 3, 2**31, 28, 28) + b"\x00" * 2**20))
    asked: list[int] = []
    real = gzip.GzipFile.read
    monkeypatch.setattr(gzip.GzipFile, "read", lambda self, size=-1: asked.append(size) or real(self, size))
    with pytest.raises(ValueError, match=r"its header says \(2147483648, 28, 28\), more than a file of"):
        data.read_idx(path)
    assert asked == [4, 12]


def test_an_idx_file_that_goes_on_after_its_sizes_is_refused(tmp_path: Path) -> None:
    import gzip

    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(struct.pack(">BBBBI", 0, 0, 8, 1, 2) + b"\x00" * 2**24))
    with pytest.raises(ValueError, match=r"its header says \(2,\), and it holds more bytes"):
        data.read_idx(path)


# --- networks


@pytest.fixture
def network(tmp_path: Path) -> Path:
    diffusers = pytest.importorskip("diffusers", reason="what is loaded is a diffusers UNet2DModel")
    unet = diffusers.UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, layers_per_block=1, block_out_channels=(8, 16),
        down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=4, attention_head_dim=8,
    )  # fmt: skip
    unet.save_pretrained(tmp_path / "unet", safe_serialization=True)
    return tmp_path / "unet"


def load(folder: Path) -> gs.models.WrappedModel:
    return gs.models.load(folder, gs.schedules.vp_linear())


WEIGHTS = "diffusion_pytorch_model.safetensors"


def edit_json(path: Path, **changes: object) -> None:
    found = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({name: value for name, value in found.items() if value is not ...}))


def test_a_network_is_loaded_as_it_was_saved_and_the_global_generator_stays(network: Path) -> None:
    before = torch.random.get_rng_state()
    loaded = load(network).network.state_dict()  # type: ignore[attr-defined]
    assert torch.equal(torch.random.get_rng_state(), before)
    saved = load_file(network / WEIGHTS)
    assert loaded.keys() == saved.keys() and all(torch.equal(loaded[name], saved[name]) for name in saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, m: t.pop("conv_in.weight"), "conv_in.weight is missing"),
        (lambda t, m: t.update({"more": torch.ones(1)}), "more is unexpected"),
        (lambda t, m: t.update({"conv_in.weight": torch.ones(8, 2, 3, 3)}), r"conv_in.weight has shape \(8, 2, 3, 3\)"),
        (lambda t, m: t.update({"conv_in.weight": torch.ones(1, 8, 3, 3)}), "conv_in.weight"),
        (lambda t, m: t.update({"new": t.pop("conv_in.weight")}), "conv_in.weight is missing"),
    ],
)
def test_a_weight_that_is_missing_unexpected_or_misshapen_is_named(network: Path, change: Any, message: str) -> None:
    rewrite(network / WEIGHTS, change)
    with pytest.raises(ValueError, match=rf"{network}.*{message}"):
        load(network)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"block_out_channels": [2**20, 2**20]}, "has shape"),
        ({"block_out_channels": [2**40, 2**40]}, "cannot be read|has shape"),
        ({"layers_per_block": 10**9}, "has more layers than its .* weights can be of"),
        ({"layers_per_block": "two"}, "cannot be read"),
        ({"block_out_channels": None}, "cannot be read"),
        ({"down_block_types": ["Nothing"]}, "cannot be read"),
        ({"_class_name": ...}, "names no _class_name"),
    ],
)
def test_a_config_of_another_network_is_refused_before_memory_is_taken(
    network: Path, changes: dict[str, object], message: str
) -> None:
    edit_json(network / "config.json", **changes)
    with pytest.raises(ValueError, match=rf"{network}.*({message})"):
        load(network)


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_truncated_weights_are_named(network: Path, kept: int) -> None:
    weights = network / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:kept])
    with pytest.raises(ValueError, match=f"{weights}: cannot be read"):
        load(network)


def test_pickled_weights_are_not_read(network: Path) -> None:
    torch.save(load_file(network / WEIGHTS), network / "diffusion_pytorch_model.bin")
    (network / WEIGHTS).unlink()
    with pytest.raises(ValueError, match=rf"{WEIGHTS}: cannot be read .*safe_serialization"):
        load(network)


def test_weights_in_several_files_are_read_by_their_index(network: Path) -> None:
    expected = load(network).network.state_dict()  # type: ignore[attr-defined]
    unet = load(network).network
    (network / WEIGHTS).unlink()
    unet.save_pretrained(network, safe_serialization=True, max_shard_size="10KB")  # type: ignore[attr-defined]
    assert len(list(network.glob("*.safetensors"))) > 1
    loaded = load(network).network.state_dict()  # type: ignore[attr-defined]
    assert all(torch.equal(loaded[name], expected[name]) for name in expected)
    edit_json(network / f"{WEIGHTS}.index.json", weight_map={"conv_in.weight": "../elsewhere.safetensors"})
    with pytest.raises(ValueError, match="has no weight_map of files beside it"):
        load(network)


# --- heads


@pytest.fixture(params=["correction", "derivative"])
def head(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    configs = {
        "correction": genie.CorrectionConfig(channels=1, features=4, width=8),
        "derivative": genie.HeadConfig(channels=1, features=4, embedding=6, width=8),
    }
    made = genie.CorrectionHead if request.param == "correction" else genie.GenieHead
    return genie.save_head(made(configs[request.param]), tmp_path)  # type: ignore[arg-type]


def test_a_head_is_loaded_as_it_was_saved(head: Path) -> None:
    loaded, saved = genie.load_head(head).state_dict(), load_file(head / WEIGHTS)
    assert loaded.keys() == saved.keys() and all(torch.equal(loaded[name], saved[name].float()) for name in saved)
    assert {value.dtype for value in loaded.values()} == {torch.float32}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 10**12}, "width is 1000000000000, and its weights hold"),
        ({"features": 10**9}, "features is 1000000000"),
        ({"width": 16}, "has shape"),
        ({"width": 8.0}, "width is 8.0"),
        ({"width": True}, "width is True"),
        ({"width": "8"}, "width is '8'"),
        ({"width": 0}, "width is 0"),
        ({"channels": -1}, "channels is -1"),
        ({"last_layer": 3}, "last_layer is 3"),
        ({"channels": ...}, "'channels' is missing"),
        ({"depth": 3}, "'depth' is unknown"),
        ({"network": 3}, "network is 3"),
        ({"network": {"colour": "red"}}, "network is {'colour': 'red'}"),
        ({"predicts": "nothing"}, "holds no GENIE head"),
        ({"predicts": ["correction"]}, "holds no GENIE head"),
    ],
)
def test_a_config_that_is_no_head_is_refused(head: Path, changes: dict[str, object], message: str) -> None:
    edit_json(head / "config.json", **changes)
    with pytest.raises(ValueError, match=rf"{head}.*{message}.*; make a head with genie-samplers distill"):
        genie.load_head(head)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, m: t.pop("conv_in.weight"), "conv_in.weight is missing"),
        (lambda t, m: t.update({"more": torch.ones(1)}), "more is unexpected"),
        (lambda t, m: t.update({"conv_in.bias": torch.ones(9)}), r"conv_in.bias has shape \(9,\), not \(8,\)"),
        (lambda t, m: t["conv1.weight"].fill_(torch.nan), "conv1.weight holds inf or NaN"),
    ],
)
def test_a_weight_of_a_head_that_is_wrong_is_named(head: Path, change: Any, message: str) -> None:
    rewrite(head / WEIGHTS, change)
    with pytest.raises(ValueError, match=rf"{head / WEIGHTS}: {message}"):
        genie.load_head(head)


@pytest.mark.parametrize("name", ["config.json", WEIGHTS])
@pytest.mark.parametrize("kept", [0, 4, -4])
def test_truncated_files_of_a_head_are_named(head: Path, name: str, kept: int) -> None:
    (head / name).write_bytes((head / name).read_bytes()[:kept])
    with pytest.raises(ValueError, match=f"{head / name}: cannot be read"):
        genie.load_head(head)


def test_a_head_that_cannot_be_saved_leaves_the_old_one(head: Path) -> None:
    before = {path.name: path.read_bytes() for path in head.iterdir()}
    other = genie.load_head(head)
    nn.init.constant_(next(other.parameters()), torch.inf)
    with pytest.raises(ValueError, match="is not finite in"):
        genie.save_head(other, head.parent)
    assert {path.name: path.read_bytes() for path in head.iterdir()} == before
    assert list(head.parent.iterdir()) == [head]
