"""Distillation: what the targets are, that a head learns them, and that a run may be stopped or shared out."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import genie_samplers as gs
from genie_samplers import genie
from genie_samplers.cli import main
from genie_samplers.genie.distillation.report import derivative_errors
from genie_samplers.genie.distillation.targets import Targets
from genie_samplers.schedules import Schedule

from ...forked import ForkServer
from .heads import SCHEDULE, SCHEDULES, data, model

pytest.importorskip("diffusers", reason="the network is a diffusers UNet2DModel")

OPTIONS = genie.DistillOptions(
    steps=4, batch_size=8, chunk_size=4, warmup_steps=1, save_every=1, target="pointwise"
)  # fmt: skip
STEP = replace(
    OPTIONS, target="step", nfes=(4,), values=(1, 3), grids=("karras",), trajectories=2, pool_steps=3, forced_steps=2
)


ALL = {
    **SCHEDULES,
    "vp_cosine": gs.schedules.vp_cosine(),
    "table": gs.schedules.from_betas(gs.schedules.scaled_linear_betas()),
}
every_schedule = pytest.mark.parametrize("schedule", ALL.values(), ids=ALL)


def pointwise(size: int = 5, seed: int = 0, schedule: Schedule = SCHEDULE) -> genie.PointwiseTargets:
    config = genie.HeadConfig.of(model().network)  # type: ignore[arg-type]
    t_max, t_min = schedule.finite_ends
    return genie.PointwiseTargets(model(schedule=schedule), config, data(), size, t_min, t_max, seed)


def distiller(folder: Path, options: genie.DistillOptions = OPTIONS) -> genie.Distiller:
    return genie.Distiller(folder, model(), data(), options)


def weights(run: genie.Distiller) -> torch.Tensor:
    return torch.cat([value.reshape(-1) for value in run.average.values()])


class Same:
    """A source of the same few chunks again and again."""

    def __init__(self, chunks: list[Targets]) -> None:
        self.chunks = chunks

    def chunk(self, number: int, head: torch.nn.Module) -> Targets:
        return self.chunks[number % len(self.chunks)]


# --- targets


def test_pointwise_targets_are_the_total_derivative_at_the_predicted_noise() -> None:
    at = pointwise().chunk(3)
    times = torch.from_numpy(SCHEDULE.time_of_gamma(at.gamma.numpy()))
    images, cond = data().draw(np.random.default_rng([0, 3]), 5)
    expected = genie.total_derivative(model(), at.x, times, cond=cond)
    assert images.shape == at.x.shape
    assert torch.allclose(at.target, expected.gamma_d_epsilon, atol=1e-4)
    assert torch.allclose(at.epsilon, expected.epsilon, atol=1e-4)


@every_schedule
def test_a_head_of_derivatives_learns_from_what_it_will_see_in_the_solver(schedule: Schedule) -> None:
    """States of unit size, whatever the schedule, and the epsilon of the network there."""
    at = pointwise(schedule=schedule).chunk(0)
    times = schedule.time_of_gamma(at.gamma.numpy())
    headed = genie.with_head(model(schedule=schedule), genie.GenieHead(genie.HeadConfig.of(model().network)))  # type: ignore[arg-type]
    labels = torch.from_numpy(headed.label(times)).float()
    _, cond = data().draw(np.random.default_rng([0, 0]), 5)
    _, (x, epsilon, last, embedding, gamma) = headed.evaluate(at.x / labels[:, 3, None, None, None], labels, (), **cond)
    assert 0.5 < float(at.x.std()) < 1.5
    assert torch.allclose(x, at.x, rtol=1e-6) and torch.allclose(gamma, at.gamma.float(), rtol=1e-6)
    assert torch.allclose(epsilon, at.epsilon, atol=1e-3)
    assert torch.allclose(last, at.inputs[2], atol=1e-3) and torch.allclose(embedding, at.inputs[3], atol=1e-5)


def test_a_chunk_is_a_function_of_its_number() -> None:
    one, again, other = (pointwise().chunk(number) for number in (1, 1, 2))
    assert torch.equal(one.target, again.target) and torch.equal(one.x, again.x)
    assert not torch.equal(one.x, other.x)


@every_schedule
def test_the_times_of_a_chunk_fill_the_range_evenly_in_log_gamma(schedule: Schedule) -> None:
    place = np.sort(np.log(pointwise(size=20, schedule=schedule).chunk(0).gamma.numpy()))
    low, high = schedule.log_gamma(np.array(schedule.finite_ends[::-1]))
    assert np.all(np.floor((place - low) / (high - low) * 20) == np.arange(20))


def test_some_samples_have_no_class() -> None:
    _, cond = replace(data(), dropout=0.5).draw(np.random.default_rng(0), 400)
    dropped = (cond["class_labels"] == 3).double().mean()
    assert 0.4 < float(dropped) < 0.6


# --- training


@pytest.mark.parametrize("options", [OPTIONS, STEP], ids=["pointwise", "step"])
@pytest.mark.usefixtures("coarse_trajectories")
def test_a_head_learns_its_targets(tmp_path: Path, options: genie.DistillOptions) -> None:
    many = replace(options, steps=60, learning_rate=5e-3, warmup_steps=5, save_every=100)
    run = distiller(tmp_path, many)
    seen = [run.source.chunk(number, run.network) for number in range(run.options.chunks)]
    run.source = Same(seen)
    run.run()
    assert run.losses[-1] < 0.7 * run.losses[0]


@pytest.mark.parametrize("options", [OPTIONS, STEP], ids=["pointwise", "step"])
@pytest.mark.parametrize("name", ["edm", "ve", "flow", "table"])
@pytest.mark.usefixtures("coarse_trajectories")
def test_a_head_is_distilled_on_every_kind_of_schedule(
    tmp_path: Path, options: genie.DistillOptions, name: str
) -> None:
    """Of steps one chunk off trajectories, then one that the head leads."""
    few = replace(options, steps=2, batch_size=4, forced_steps=1, values=(2,))
    run = genie.Distiller(tmp_path, model(schedule=ALL[name]), data(), few)
    run.run()
    assert np.isfinite(run.losses).all() and run.losses[0] > 0.0


@pytest.mark.parametrize("options", [OPTIONS, STEP], ids=["pointwise", "step"])
@pytest.mark.usefixtures("coarse_trajectories")
def test_resumed_run_has_the_weights_of_an_uninterrupted_one(tmp_path: Path, options: genie.DistillOptions) -> None:
    whole = distiller(tmp_path / "whole", options)
    whole.run()
    distiller(tmp_path / "parts", options).run(until=2)
    resumed = distiller(tmp_path / "parts", options)
    assert resumed.step == 2
    resumed.run()
    assert torch.equal(weights(whole), weights(resumed)) and whole.losses == resumed.losses


def test_a_run_with_other_options_is_not_resumed(tmp_path: Path) -> None:
    distiller(tmp_path).run(until=1)
    with pytest.raises(ValueError, match="target='step'"):
        distiller(tmp_path, STEP)


def test_a_batch_that_is_no_multiple_of_its_chunks_is_named() -> None:
    with pytest.raises(ValueError, match="batch_size=6: give a multiple of chunk_size=4"):
        _ = replace(OPTIONS, batch_size=6).chunks


def test_chunks_only_change_the_rounding_of_the_gradient(tmp_path: Path) -> None:
    at = pointwise(size=8).chunk(0)
    whole = distiller(tmp_path / "a", replace(OPTIONS, chunk_size=8))
    halves = [slice(0, 4), slice(4, 8)]

    def gradient(run: genie.Distiller, parts: list[Targets]) -> torch.Tensor:
        torch.nn.init.normal_(run.network.conv_out.weight, std=0.1, generator=torch.Generator().manual_seed(0))  # type: ignore[union-attr]
        run.source = Same(parts)
        rows = torch.stack([run._chunk(number) for number in range(len(parts))])
        return rows.mean(0)

    def part(at: Targets, of: slice) -> Targets:
        return Targets(tuple(v[of] for v in at.inputs), at.target[of], at.gamma[of])

    one, two = gradient(whole, [at]), gradient(whole, [part(at, half) for half in halves])
    assert torch.allclose(one, two, rtol=1e-4, atol=1e-4 * float(one.abs().max()))


WORKER = """
import sys, torch
rank, options, folder, tests = sys.argv[1:]
sys.path.insert(0, tests)
torch.set_num_threads(1)
import torch.distributed as dist
from pathlib import Path
from tests.samplers.genie import test_distill
dist.init_process_group("gloo", init_method=f"file://{folder}.store", rank=int(rank), world_size=2)
run = test_distill.distiller(Path(folder), getattr(test_distill, options))
run.run()
torch.save((test_distill.weights(run), run.losses), Path(folder) / f"rank{rank}.pt")
dist.destroy_process_group()
"""


@pytest.mark.parametrize("options", [pytest.param("OPTIONS", marks=pytest.mark.product), "STEP"])
def test_two_processes_take_the_steps_of_one_to_the_bit(tmp_path: Path, options: str, programs: ForkServer) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        alone = distiller(tmp_path / "alone", {"OPTIONS": OPTIONS, "STEP": STEP}[options])
        alone.run()
    finally:
        torch.set_num_threads(threads)
    folder = tmp_path / "both"
    tests = str(Path(__file__).parents[3])
    done = programs.together([(WORKER, rank, options, str(folder), tests) for rank in "01"])
    assert [worker.stderr for worker in done if worker.returncode] == []
    first, second = (torch.load(folder / f"rank{rank}.pt") for rank in (0, 1))
    assert torch.equal(first[0], weights(alone)) and torch.equal(second[0], weights(alone))
    assert first[1] == alone.losses == second[1]
    assert (folder / "checkpoint.safetensors").exists()


# --- report and command


def test_the_error_of_a_new_head_is_the_target_itself() -> None:
    new = genie.GenieHead(genie.HeadConfig.of(model().network))  # type: ignore[arg-type]
    bands = derivative_errors(new, [pointwise().chunk(number) for number in range(3)])
    assert sum(band.samples for band in bands) == 15
    assert [band.relative for band in bands] == pytest.approx([1.0] * len(bands), rel=1e-6)


@torch.no_grad()
def test_the_error_of_a_head_is_that_of_what_the_plan_mixes() -> None:
    options = {"derivative": "head", "derivative_below": None}
    times = gs.make_plan("genie_ttm2", SCHEDULE, 4, options=options)
    known = genie.GenieHead(genie.HeadConfig.of(model().network))  # type: ignore[arg-type]
    torch.nn.init.normal_(known.conv_out.weight, std=0.1, generator=torch.Generator().manual_seed(0))
    at = replace(pointwise(), t_min=times.times[1], t_max=times.times[1]).chunk(0)
    mixed = times.rows[1].converted[1].q[1:]
    predicted = sum(q * k for q, k in zip(mixed, known(*at.inputs).chunk(3, dim=1), strict=True))
    (band,) = derivative_errors(known, [at])
    expected = float((predicted - at.target).double().square().mean().sqrt())
    assert band.error == pytest.approx(expected, rel=1e-5) and band.samples == 5


@pytest.mark.parametrize(
    "chosen",
    [
        pytest.param(["--target", "pointwise"], marks=pytest.mark.product),
        ["--values", "2,3", "--nfe", "4", "--grid", "karras", "--trajectories", "2"],
    ],
    ids=["pointwise", "step"],
)
@pytest.mark.usefixtures("coarse_trajectories")
def test_the_command_distills_reports_and_exports(tmp_path: Path, chosen: list[str]) -> None:
    network = tmp_path / "network"
    model().network.save_pretrained(network)  # type: ignore[union-attr]
    np.save(tmp_path / "images.npy", data().images.numpy())
    arguments = ["distill", "--network", network, "--schedule", "vp_linear", "--label", "log_gamma"]
    arguments += ["--images", tmp_path / "images.npy"]
    arguments += ["--run", tmp_path / "run", "--steps", "2", "--batch-size", "4", "--export", network, *chosen]
    result = CliRunner().invoke(main, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert genie.load_head(network).config.width == 8
    assert (tmp_path / "run" / "report.png").stat().st_size > 0
    with open(tmp_path / "run" / "report.csv", newline="") as file:
        kinds = [line["kind"] for line in csv.DictReader(file)]
    assert set(kinds) == {"head", "rmse"}
    assert "| parameters |" in (network / "genie_head" / "README.md").read_text()
