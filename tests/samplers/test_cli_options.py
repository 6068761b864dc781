"""Options of the command line: their ranges, where files go, whose time is whose, networks of the user's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import genie_samplers as gs
from genie_samplers import genie
from genie_samplers.cli import images, main
from genie_samplers.cli.timing import Stopwatch, Timed
from genie_samplers.demo import data
from genie_samplers.demo.train import TrainingOptions, make_batch

from .command_line import commands, refused, run
from .network_folders import save_unet

pytest.importorskip("diffusers", reason="the networks are diffusers U-Nets")


OPTIONS = [
    (name, option)
    for name, command in commands(main).items()
    for option in command.params
    if isinstance(option, click.Option)
]
NUMBERS = [
    pytest.param(name, option, id=f"{name} {option.opts[0]}")
    for name, option in OPTIONS
    if isinstance(option.type, click.types.IntParamType | click.types.FloatParamType)
]
NEEDED = {"train": ("--run", "run"), "distill": ("--run", "run")}


def test_the_numbers_of_all_commands_are_found() -> None:
    found = {(name, option.opts[0]) for name, option in (p.values for p in NUMBERS)}  # type: ignore[misc]
    assert {("train", "--steps"), ("sample", "--guidance"), ("calibrate grid", "--seed"), ("encode", "--seed")} <= found


@pytest.mark.parametrize(("name", "option"), NUMBERS)
def test_a_number_out_of_range_is_refused_by_option_and_value(
    name: str, option: click.Option, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    value = "nan" if option.opts[0].startswith("--guidance") else "-1"
    text = refused(*name.split(), *NEEDED.get(name, ()), f"{option.opts[0]}={value}")
    assert re.search(f"Invalid value for '{option.opts[0]}': {value}(.0)? is not", text)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "0"])
def test_a_learning_rate_is_finite_and_positive(value: str) -> None:
    assert "Invalid value for '--learning-rate'" in refused("train", "--run", "run", f"--learning-rate={value}")


@pytest.mark.parametrize("value", [2**64, 10**30])
def test_a_seed_has_64_bits(value: int) -> None:
    assert f"'--seed': {value} is not in the range" in refused("sample", "--seed", value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size=0: give 1 or more"),
        ({"steps": -5}, "steps=-5: give 0 or more"),
        ({"label": "seconds"}, "label='seconds'; choose one of"),
        ({"class_dropout": 2.0}, r"class_dropout=2\.0: give a number in 0\.\.1"),
    ],
)
def test_training_options_that_make_no_run_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainingOptions(**options)


# --- mirrored images


def test_training_mirrors_every_second_image_or_none_with_the_same_random_numbers() -> None:
    ramp = np.broadcast_to(np.linspace(-1, 1, 28, dtype=np.float32), (4, 1, 28, 28))
    ramps = data.LabelledImages(ramp, np.zeros(4, np.int64))
    schedule = gs.schedules.vp_linear()
    mirrored, plain = (make_batch(ramps, schedule, TrainingOptions(batch_size=64, mirror=m), 0) for m in (True, False))
    assert torch.equal(mirrored.noise, plain.noise) and torch.equal(mirrored.label, plain.label)
    same = (mirrored.x == plain.x).flatten(1).all(1)
    assert 0 < int(same.sum()) < 64


def test_train_and_distill_tell_whether_they_mirror(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Caught(Exception):
        pass

    def trainer(folder: Path, images: object, schedule: object, options: TrainingOptions, *_: Any, **__: Any) -> None:
        raise Caught(options.mirror)

    def distiller(folder: Path, model: object, given: genie.Data, options: object) -> None:
        raise Caught(given.mirror)

    monkeypatch.setattr("genie_samplers.demo.train.Trainer", trainer)
    monkeypatch.setattr(genie, "Distiller", distiller)
    given = ("--run", tmp_path / "run", "--data", "samples")
    found = [
        click_exception((command, *given, *flag)) for command in ("train", "distill") for flag in ((), ("--no-mirror",))
    ]
    assert [type(error) for error in found] == [Caught] * 4
    assert [error.args for error in found] == [(True,), (False,)] * 2


def click_exception(arguments: tuple[object, ...]) -> BaseException:
    error = CliRunner().invoke(main, [str(a) for a in arguments]).exception
    assert error is not None
    return error


# --- clipping


def test_clip_is_given_to_the_plan() -> None:
    text = run("plan", "--solver", "ddim", "--nfe", 3, "--clip", 1.0, "--json")
    plan = gs.make_plan("ddim", gs.schedules.vp_linear(), 3, clip=1.0)
    assert gs.Plan.from_json(text) == plan


def test_sample_runs_the_clipped_plan(tmp_path: Path) -> None:
    out = tmp_path / "s.png"
    run("sample", "--solver", "ddim", "--nfe", 2, "--clip", 1.0, "--count", 1, "--batch-size", 1, "--out", out)
    plan = gs.make_plan("ddim", gs.schedules.vp_linear(), 2, clip=1.0)
    assert gs.Plan.from_json(Image.open(out).info["plan"]) == plan


# --- where files go


@pytest.mark.parametrize(
    "arguments", ["sample --class hat", "compare --solvers nonsense", "encode --class hat", "interpolate --class hat"]
)
def test_a_folder_is_made_only_when_something_is_written_into_it(arguments: str, tmp_path: Path) -> None:
    refused(*arguments.split(), "--out", tmp_path / "new" / "x.png")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_nobody_may_write_to_is_refused_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda place, mode: str(place) != "/")
    text = refused("sample", "--out", "/no_such_folder/x.png")
    assert "out='/no_such_folder/x.png'; the folder '/' cannot be written to, choose another place" in text


def test_an_interrupted_run_ends_with_130_and_keeps_the_old_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("genie_samplers.cli.images.grid", interrupt)
    out = tmp_path / "s.png"
    out.write_bytes(b"old")
    result = CliRunner().invoke(main, ["sample", "--nfe", "1", "--count", "1", "--batch-size", "1", "--out", str(out)])
    assert (result.exit_code, out.read_bytes(), list(tmp_path.iterdir())) == (130, b"old", [out])


# --- whose time is whose


class Slow(gs.models.Model):
    """A network that takes a second of ``clock`` and returns ``outputs``."""

    def __init__(self, clock: list[float], names: tuple[str, ...]) -> None:
        self.clock, self.names, self.outputs = clock, names, names

    def __call__(self, x: torch.Tensor, t: torch.Tensor, **cond: Any) -> tuple[torch.Tensor, ...]:
        self.clock[0] += 1.0
        return (0.1 * x,) * len(self.names)

    def first(self, count: int) -> Slow:
        return Slow(self.clock, self.names[:count])


def test_the_time_of_a_model_is_that_of_its_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, watch = [0.0], Stopwatch()
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    model = Slow(clock, ("epsilon", "gamma_d_epsilon"))
    plan = gs.make_plan("ddim", gs.schedules.vp_linear(), 3)
    gs.sample(Timed(model, watch), plan, shape=(2, 3))
    assert watch.seconds == 3.0


def test_a_timed_model_is_the_model_in_all_else(monkeypatch: pytest.MonkeyPatch) -> None:
    headed, schedule = gs.demo.embedded_with_head(), gs.schedules.vp_linear()
    plan = gs.make_plan("genie_hermite3", schedule, 3)
    arguments: dict[str, Any] = {"shape": (1, 1, 28, 28), "cond": {"class_labels": torch.tensor([3])}}
    watch = Stopwatch()
    timed = gs.sample(Timed(headed, watch), plan, **arguments)
    assert torch.equal(timed, gs.sample(headed, plan, **arguments)) and watch.seconds > 0
    guided = gs.guidance.classifier_free(headed.model, null={"class_labels": 10})
    plain = gs.make_plan("ddim", schedule, 2).guided(2.0)
    expected = gs.sample(guided, plain, **arguments)
    assert torch.equal(gs.sample(Timed(guided, watch), plain, **arguments), expected)


def test_exact_derivatives_are_the_time_of_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    real = genie.exact.__globals__["ExactModel"].__call__

    def slow(self: Any, x: torch.Tensor, t: torch.Tensor, **cond: Any) -> Any:
        clock[0] += 100.0
        return real(self, x, t, **cond)

    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    monkeypatch.setattr(genie.exact.__globals__["ExactModel"], "__call__", slow)
    monkeypatch.setattr("genie_samplers.cli.sample._forward_seconds", lambda *_: 50.0)
    given = ("--derivative", "exact", "--nfe", 2, "--count", 1, "--batch-size", 1, "--out", tmp_path / "s.png")
    text = run("sample", "--solver", "genie_ttm2", *given)
    assert "200.00 s (network 200.00 s, sampler 0.0 ms)" in text
    assert "the cost of 4.0 forward passes" in text


# --- networks of the user's


def test_sample_takes_a_network_of_the_users(tmp_path: Path) -> None:
    folder, out = save_unet(tmp_path / "unet"), tmp_path / "s.png"
    given = ("--network", folder, "--prediction", "v", "--schedule", "vp_cosine", "--nfe", 2, "--batch-size", 2)
    run("sample", *given, "--solver", "ddim", "--count", 2, "--class", 1, "--guidance", 2, "--out", out)
    schedule = gs.schedules.vp_cosine()
    model = gs.models.load(folder, schedule, prediction="v")
    plan = gs.make_plan("ddim", schedule, 2, prediction="v").guided(2.0)
    assert gs.Plan.from_json(Image.open(out).info["plan"]) == plan
    x = gs.sample(
        gs.guidance.classifier_free(model, null={"class_labels": 3}), plan, shape=(2, 3, 8, 8), batch_size=2,
        cond={"class_labels": torch.tensor([1, 1])},
    )  # fmt: skip
    page = images.grid(images.to_pixels(x.numpy()), columns=2)
    assert np.array_equal(np.asarray(Image.open(out))[: 2 * len(page) : 2, : 2 * page.shape[1] : 2], page)


@pytest.mark.parametrize(("schedule", "grid"), [("linear_betas", "dpm_linspace"), ("flow", "flow_match")])
def test_grids_of_diffusers_have_names(schedule: str, grid: str, tmp_path: Path) -> None:
    folder, out = save_unet(tmp_path / "unet"), tmp_path / "s.png"
    given = ("--network", folder, "--prediction", "flow", "--schedule", schedule, "--nfe", 3, "--batch-size", 1)
    run("sample", *given, "--solver", "ddim", "--grid", grid, "--count", 1, "--out", out)
    plan = gs.Plan.from_json(Image.open(out).info["plan"])
    assert (*plan.times, plan.schedule.t_zero) == tuple(gs.grids.DISCRETE_GRIDS[grid](plan.schedule, 3))


def test_a_grid_of_another_schedule_is_refused() -> None:
    assert "is no flow: take karras or beta" in refused("plan", "--grid", "flow_match")


def test_compare_and_calibrate_take_a_network_of_the_users(tmp_path: Path) -> None:
    folder = save_unet(tmp_path / "unet")
    given = ("--network", folder, "--schedule", "vp_cosine")
    text = run(
        "compare", *given, "--solvers", "ddim", "--nfe", "3", "--fine", 6, "--count", 2, "--out", tmp_path / "c.png"
    )
    assert "ddim         nfe   3  rmse" in text and (tmp_path / "c.csv").exists()
    latents = ("--latents", 2, "--check-latents", 2, "--nodes", 4, "--runs", 2)
    run("calibrate", "grid", *given, "--solver", "ddim", "--nfe", 3, *latents, "--out", tmp_path / "p.json")
    plan = gs.Plan.from_json((tmp_path / "p.json").read_text())
    assert plan.schedule == gs.schedules.vp_cosine() and plan.nfe == 3


@pytest.mark.parametrize(
    ("options", "arguments", "message"),
    [
        ({}, "sample --class trouser", "--class 'trouser'; give the number of a class of the network"),
        ({}, "sample --class 3", "--class 3: the network knows the classes 0..2"),
        ({"num_class_embeds": None}, "sample --class 1", "--class 1: the network knows no classes"),
        ({"num_class_embeds": None}, "sample --guidance 2", "--guidance: the network knows no classes"),
        ({"in_channels": 4, "out_channels": 4}, "sample", "--network: has 4 channels, a picture 1 or 3"),
        ({"in_channels": 4, "out_channels": 4}, "compare", "--network: has 4 channels, a picture 1 or 3"),
        ({"sample_size": None}, "sample", "--network: its config has no sample_size"),
        ({}, "sample --solver genie_ttm2", "distilled head"),
    ],
)
def test_what_a_network_cannot_do_is_said(
    options: dict[str, Any], arguments: str, message: str, tmp_path: Path
) -> None:
    folder = save_unet(tmp_path / "unet", **options)
    given = ("--network", folder, "--schedule", "vp_linear", "--out", tmp_path / "x.png")
    assert message in refused(*arguments.split(), *given)


@pytest.mark.parametrize(
    "command", ["sample", "compare", "calibrate grid", "diagnose", "encode", "interpolate", "distill --run run"]
)
def test_what_contradicts_the_embedded_network_is_refused(command: str) -> None:
    assert "--prediction v: the embedded network has epsilon; give --network" in refused(
        *command.split(), "--prediction", "v"
    )
