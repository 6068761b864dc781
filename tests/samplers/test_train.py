"""Training: real steps on small data; a run that was stopped and resumed is the run that was not."""

from __future__ import annotations

import gzip
import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import genie_samplers as gs
from genie_samplers import schedules
from genie_samplers.demo import NULL_CLASS, data
from genie_samplers.demo.train import Trainer, TrainingOptions, build_network, export, fast_precision, make_batch
from genie_samplers.predictions import to_epsilon

from .command_line import write_idx

pytest.importorskip("diffusers", reason="the embedded network is a diffusers UNet2DModel")
safe_open = pytest.importorskip("safetensors").safe_open
save_file = pytest.importorskip("safetensors.torch").save_file

OPTIONS = TrainingOptions(steps=4, batch_size=8, warmup_steps=2, save_every=1, precision="float32")
SHORT = replace(OPTIONS, batch_size=2)  # for real steps of the whole network


@pytest.fixture(scope="module")
def images() -> data.LabelledImages:
    rng = np.random.default_rng(0)
    pixels = rng.uniform(-1, 1, (32, 1, 28, 28)).astype(np.float32)
    return data.LabelledImages(pixels, np.arange(32) % 10)


def trainer(folder: Path, images: data.LabelledImages, options: TrainingOptions = SHORT) -> Trainer:
    return Trainer(folder, images, schedules.vp_linear(), options)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, images) -> Trainer:
    """A run of all its steps."""
    made = trainer(tmp_path_factory.mktemp("whole"), images)
    made.run()
    return made


def test_resumed_run_has_the_weights_of_an_uninterrupted_one(tmp_path, images, whole):
    trainer(tmp_path / "parts", images).run(until=2)
    resumed = trainer(tmp_path / "parts", images)
    assert resumed.step == 2
    resumed.run()
    assert resumed.losses == whole.losses
    assert all(torch.equal(value, whole.average[name]) for name, value in resumed.average.items())


def test_initial_weights_are_those_of_the_seed_and_leave_the_generator_of_torch_alone(tmp_path, images):
    torch.manual_seed(5)
    made, drawn = trainer(tmp_path, images, replace(SHORT, seed=1)).network, torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(3))
    torch.manual_seed(1)
    expected = build_network().state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in made.state_dict().items())


def test_images_are_mirrored_only_where_asked_for(images):
    turned = data.LabelledImages(np.ascontiguousarray(images.images[..., ::-1]), images.labels)
    vp, plain = schedules.vp_linear(), replace(OPTIONS, mirror=False)
    both, mirrored, kept, kept_turned = (
        make_batch(given, vp, options, 0).x.flatten(1)
        for given, options in ((images, OPTIONS), (turned, OPTIONS), (images, plain), (turned, plain))
    )
    chosen = (both == kept_turned).all(1)
    assert chosen.any() and not chosen.all()
    assert torch.equal(torch.where(chosen[:, None], kept_turned, kept), both)
    assert torch.equal(torch.where(chosen[:, None], kept, kept_turned), mirrored)


@pytest.mark.parametrize(
    ("option", "value"),
    [("seed", 1), ("batch_size", 4), ("learning_rate", 1e-3), ("ema_decay", 0.9), ("precision", "bfloat16")],
)
def test_a_run_is_not_resumed_with_other_options(tmp_path, images, option, value):
    trainer(tmp_path, images).save()
    with pytest.raises(ValueError, match=rf"{option}={value!r} \(checkpoint: .*\); resume with the same or"):
        trainer(tmp_path, images, replace(SHORT, **{option: value}))


@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_a_step_multiplies_in_the_precision_of_the_options(tmp_path, images, precision, dtype):
    run, made = trainer(tmp_path, images, replace(SHORT, precision=precision)), []
    run.network.get_submodule("conv_out").register_forward_hook(lambda _, inputs, output: made.append(output.dtype))
    run.take_step()
    assert made == [dtype]
    assert {value.dtype for value in run.network.state_dict().values()} == {torch.float32}


@pytest.mark.parametrize(
    ("instructions", "precision"),
    [({"avx2": True}, "float32"), ({"avx512_bf16": True}, "bfloat16"), ({"bf16": True}, "bfloat16")],
)
def test_a_processor_without_bfloat16_trains_in_float32(monkeypatch, instructions, precision):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions, raising=False)
    assert fast_precision(torch.device("cpu")) == precision


def test_a_torch_that_knows_no_instructions_trains_in_float32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert fast_precision(torch.device("cpu")) == "float32"


def test_a_resumed_run_keeps_its_precision_on_another_processor(tmp_path, images, monkeypatch):
    for_device = replace(SHORT, precision=None)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True}, raising=False)
    trainer(tmp_path, images, for_device).save()
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {}, raising=False)
    assert trainer(tmp_path / "new", images, for_device).options.precision == "float32"
    assert trainer(tmp_path, images, for_device).options.precision == "bfloat16"


def test_a_run_from_before_there_were_other_inputs_is_resumed(tmp_path, images):
    begun = trainer(tmp_path, images)
    begun.run(until=1)
    with safe_open(begun.checkpoint, "pt") as file:
        kept, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    run = json.loads(metadata["run"])
    del run["options"]["input"]
    save_file(kept, begun.checkpoint, {**metadata, "run": json.dumps(run)})
    assert trainer(tmp_path, images).step == 1
    with pytest.raises(ValueError, match=r"input='unit_variance' \(checkpoint: 'x'\)"):
        trainer(tmp_path, images, replace(SHORT, input="unit_variance"))


def test_an_unknown_precision_is_refused():
    with pytest.raises(ValueError, match=r"precision='float16'; choose one of"):
        replace(OPTIONS, precision="float16")


def test_a_run_is_resumed_with_more_steps(tmp_path, images):
    trainer(tmp_path, images).run(until=1)
    assert trainer(tmp_path, images, replace(SHORT, steps=9, save_every=3)).step == 1


def test_training_moves_the_weights_and_writes_the_loss_curve(tmp_path, images, whole):
    before = trainer(tmp_path, images).network.state_dict()
    assert whole.step == len(whole.losses) == 4
    assert any(not torch.equal(value, before[name]) for name, value in whole.network.state_dict().items())
    assert (whole.folder / "loss.csv").read_text().startswith("step,loss")


def test_learning_rate_warms_up_stays_and_falls_to_zero():
    options = TrainingOptions(steps=1000, warmup_steps=10, learning_rate=1.0, decay_fraction=0.2)
    rates = [options.rate(step) for step in (0, 9, 500, 799, 900, 1000)]
    assert rates == pytest.approx([0.1, 1.0, 1.0, 1.0, 0.5, 0.0])


def test_batch_is_a_function_of_seed_and_step(images):
    schedule = schedules.vp_linear()
    first, again, other = (make_batch(images, schedule, OPTIONS, step) for step in (3, 3, 4))
    assert torch.equal(first.x, again.x)
    assert not torch.equal(first.x, other.x)


def test_batch_is_a_noisy_image_with_its_label_and_some_dropped_classes(images):
    schedule = schedules.vp_linear()
    batch = make_batch(images, schedule, TrainingOptions(batch_size=2048), 0)
    gamma = torch.exp(batch.label.double())
    alpha, sigma = 1 / torch.sqrt(1 + gamma**2), gamma / torch.sqrt(1 + gamma**2)
    column = (slice(None), None, None, None)
    clean = (batch.x - sigma[column] * batch.noise) / alpha[column]
    small = gamma < 10
    assert clean[small].abs().max() < 1 + 1e-4
    assert (batch.classes == NULL_CLASS).float().mean().item() == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize("prediction", ["epsilon", "x0", "v", "flow"])
def test_the_target_is_what_a_network_of_this_prediction_returns(images, prediction):
    schedule = schedules.vp_linear()
    batch = make_batch(images, schedule, replace(OPTIONS, prediction=prediction, label="schedule", batch_size=64), 0)
    times = np.minimum(batch.label.double().numpy() / 999.0, schedule.t_max)  # a label is float32
    p, q = (torch.from_numpy(c)[:, None, None, None] for c in to_epsilon(prediction, schedule, times))
    largest = float((p.abs() * batch.x.abs().double() + q.abs() * batch.target.abs().double()).max())
    error = (p * batch.x + q * batch.target - batch.noise).abs().max()
    assert float(error) <= 8 * np.finfo(np.float32).eps * 999 * largest  # times are known to an eps of the label


@pytest.mark.parametrize("schedule", [schedules.ve(), schedules.edm()], ids=["ve", "edm"])
def test_of_unbounded_noise_a_network_takes_x_at_variance_1(tmp_path, images, schedule):
    """In training as in sampling, where the exported folder says it."""
    options = replace(SHORT, input="unit_variance", batch_size=512, t_min=schedule.t_end)
    batch = make_batch(images, schedule, replace(options, label="log_gamma"), 0)
    gamma = torch.exp(batch.label.double())[:, None, None, None]
    noisy = batch.x * torch.sqrt(1.0 + gamma**2)
    assert (noisy - gamma * batch.noise).abs().max() <= 1.0 + 1e-4 * float(gamma.max())
    assert float(batch.x.std()) == pytest.approx(1.0, abs=0.25)  # of data whose variance is 1/3
    export(Trainer(tmp_path / "run", images, schedule, replace(options, label="log_gamma")), tmp_path / "model")
    model, asked = gs.models.load(tmp_path / "model"), []
    vars(model)["network"] = lambda x, t, **_: asked.append((x.clone(), t)) or x
    plan = gs.make_plan("ddim", schedule, 3)
    gs.sample(model, plan, shape=(64, 1, 28, 28))
    assert [float(t[0]) for _, t in asked] == pytest.approx(np.log(schedule.gamma(np.array(plan.times))), rel=1e-6)
    assert float(asked[0][0].std()) == pytest.approx(1.0, abs=0.05)


def test_a_network_without_classes_is_given_none(images):
    batch = make_batch(images, schedules.vp_linear(), OPTIONS, 0, None)
    assert batch.classes is None


def test_a_run_is_not_resumed_on_other_data(tmp_path, images):
    trainer(tmp_path, images, replace(OPTIONS, about="on samples")).save()
    with pytest.raises(ValueError, match="about='on photos' "):
        trainer(tmp_path, images, replace(OPTIONS, about="on photos"))


def test_exported_network_is_loaded_by_diffusers(tmp_path, images):
    from diffusers.models.unets.unet_2d import UNet2DModel

    run = trainer(tmp_path / "run", images)
    export(run, tmp_path / "model")
    network = UNet2DModel.from_pretrained(tmp_path / "model", local_files_only=True, low_cpu_mem_usage=False)
    schedule = schedules.vp_linear()
    model = gs.models.wrap(network, schedule, label=schedule.log_gamma, defaults={"class_labels": NULL_CLASS})
    x = gs.sample(model, gs.make_plan("ddim", schedule, 2), shape=(2, 1, 28, 28))
    assert x.isfinite().all()


def test_idx_files_are_read_into_minus_one_to_one(tmp_path):
    pixels = np.zeros((3, 28, 28), np.uint8)
    pixels[1] = 255
    write_idx(tmp_path / "train-images-idx3-ubyte.gz", pixels)
    write_idx(tmp_path / "train-labels-idx1-ubyte.gz", np.array([3, 1, 2]))
    loaded = data.fashion_mnist(root=tmp_path)
    assert loaded.images.shape == (3, 1, 28, 28)
    assert (loaded.images[0] == -1).all() and (loaded.images[1] == 1).all()
    assert loaded.labels.tolist() == [3, 1, 2]


def test_truncated_idx_file_is_refused(tmp_path):
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(struct.pack(">BBBBI", 0, 0, 8, 1, 5) + b"abc"))
    with pytest.raises(ValueError, match=r"x\.gz: .*its header says \(5,\), and it holds 3 bytes"):
        data.read_idx(path)


def test_missing_data_names_the_package(tmp_path):
    with pytest.raises(ValueError, match="dataset-fashion-mnist"):
        data.fashion_mnist(root=tmp_path)


def test_unknown_split_is_refused():
    with pytest.raises(ValueError, match="split='valid'"):
        data.fashion_mnist("valid")


def test_a_loss_that_is_not_finite_ends_the_run_and_leaves_the_checkpoint(tmp_path, images):
    trainer(tmp_path, images).run(until=1)
    broken = trainer(tmp_path, replace_pixels(images, np.nan))
    with pytest.raises(ValueError, match="the loss of step 1 is nan"):
        broken.run()
    assert trainer(tmp_path, images).step == 1


def replace_pixels(images: data.LabelledImages, value: float) -> data.LabelledImages:
    return data.LabelledImages(np.full_like(images.images, value), images.labels)
