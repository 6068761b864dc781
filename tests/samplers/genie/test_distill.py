"""Distillation: what the targets are, that a head learns them, and that a run may be stopped or shared out."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import genie_samplers as gs
from genie_samplers import genie
from genie_samplers.cli import main
from genie_samplers.genie.report import derivative_errors
from genie_samplers.genie.targets import Targets

from .heads import SCHEDULE, data, model

pytest.importorskip("diffusers", reason="the network is a diffusers UNet2DModel")

OPTIONS = genie.DistillOptions(steps=4, batch_size=8, chunk_size=4, warmup_steps=1, save_every=1)
STEP = replace(OPTIONS, target="step", nfe=4, chunk_size=2, batch_size=4)


def pointwise(size: int = 5, seed: int = 0) -> genie.PointwiseTargets:
    config = genie.HeadConfig.of(model().network)  # type: ignore[arg-type]
    return genie.PointwiseTargets(model(), config, data(), size, SCHEDULE.t_end, SCHEDULE.t_max, seed)


def step_targets(plan: gs.Plan, parts: int = 4) -> genie.StepTargets:
    predicts = "correction" if "c1" in plan.outputs else "derivative"
    config = genie.HeadConfig.of(model().network, predicts=predicts)  # type: ignore[arg-type]
    return genie.StepTargets(model(), config, data(), plan, 2, 0, parts)


def head_plan(solver: str, nfe: int = 4, **options: object) -> gs.Plan:
    return gs.make_plan(solver, SCHEDULE, nfe, options={"derivative": "head", **options})


def distiller(folder: Path, options: genie.DistillOptions = OPTIONS) -> genie.Distiller:
    return genie.Distiller(folder, model(), data(), options)


def weights(run: genie.Distiller) -> torch.Tensor:
    return torch.cat([value.reshape(-1) for value in run.average.values()])


class Same:
    """A source of the same few chunks again and again."""

    def __init__(self, chunks: list[list[Targets]]) -> None:
        self.chunks = chunks

    def chunk(self, number: int) -> Iterator[Targets]:
        yield from self.chunks[number % len(self.chunks)]


# --- targets


def test_pointwise_targets_are_the_total_derivative_at_the_predicted_noise() -> None:
    (at,) = pointwise().chunk(3)
    times = torch.from_numpy(SCHEDULE.time_of_gamma(at.gamma.numpy()))
    images, cond = data().draw(np.random.default_rng([0, 3]), 5)
    expected = genie.total_derivative(model(), at.x, times, cond=cond)
    assert images.shape == at.x.shape
    assert torch.allclose(at.target, expected.gamma_d_epsilon, atol=1e-4)
    assert torch.allclose(at.epsilon, expected.epsilon, atol=1e-4)


def test_a_chunk_is_a_function_of_its_number() -> None:
    one, again, other = (next(iter(pointwise().chunk(number))) for number in (1, 1, 2))
    assert torch.equal(one.target, again.target) and torch.equal(one.x, again.x)
    assert not torch.equal(one.x, other.x)


def test_the_times_of_a_chunk_fill_the_range() -> None:
    (at,) = pointwise(size=20).chunk(0)
    times = np.sort(SCHEDULE.time_of_gamma(at.gamma.numpy()))
    assert np.all((times >= SCHEDULE.t_end) & (times <= SCHEDULE.t_max))
    assert np.all(np.floor((times - SCHEDULE.t_end) / (SCHEDULE.t_max - SCHEDULE.t_end) * 20) == np.arange(20))


def test_some_samples_are_told_no_class() -> None:
    _, cond = replace(data(), dropout=0.5).draw(np.random.default_rng(0), 400)
    dropped = (cond["class_labels"] == 3).double().mean()
    assert 0.4 < float(dropped) < 0.6


@pytest.mark.parametrize("solver", ["genie_ttm2", "genie_hermite3"])
@pytest.mark.parametrize(
    "options",
    [{}, {"derivative_below": 5.0}, {"afs": True}, {"derivative": "correction"}],
    ids=["all", "below", "afs", "correction"],
)
def test_steps_with_their_targets_stay_on_the_fine_trajectory(solver: str, options: dict[str, object]) -> None:
    plan = head_plan(solver, **{"derivative_below": None, **options})  # pyright: ignore[reportArgumentType]
    source = step_targets(plan)
    targets = iter(list(source.chunk(0)))
    _, cond = data().draw(np.random.default_rng([0, 0]), 2)
    fine = source._trajectory(0, torch.empty(2, 2, 8, 8), cond)
    reading = [row for row, step in enumerate(plan.instructions) if step.outputs > 1]
    converted: list[torch.Tensor] = []
    for row, step in enumerate(plan.instructions):
        epsilon = genie.total_derivative(model(), fine[row], step.time, cond=cond).epsilon if step.calls else fine[row]
        converted.append(epsilon)
        if row not in reading:
            continue
        at = next(targets)
        reached = step.x.x * fine[row] + step.x.y[0] * epsilon + step.x.y[1] * at.target
        reached = reached + sum(w * converted[p.row] for w, p in zip(step.x.history, step.history, strict=True))
        assert torch.allclose(reached, fine[row + 1], atol=1e-4)
        assert torch.equal(at.x, fine[row])
    assert next(targets, None) is None and reading


def test_fine_steps_make_the_step_target_the_pointwise_one() -> None:
    times = gs.grids.given(SCHEDULE, [0.5, 0.499])
    plan = gs.solvers.genie_ttm2(SCHEDULE, times, derivative="head", derivative_below=None)
    (at,) = step_targets(plan).chunk(0)
    _, cond = data().draw(np.random.default_rng([0, 0]), 2)
    exact = genie.total_derivative(model(), at.x, 0.5, cond=cond).gamma_d_epsilon
    assert float((at.target - exact).norm() / exact.norm()) < 0.1  # a difference quotient of float32


def test_derivatives_in_the_history_have_no_step_target() -> None:
    with pytest.raises(ValueError, match="genie_hermite3"):
        step_targets(head_plan("genie_hermite4", derivative_below=None))


def test_a_plan_without_a_head_has_no_step_target() -> None:
    with pytest.raises(ValueError, match="derivative='head'"):
        step_targets(gs.make_plan("ddim", SCHEDULE, 4))


def test_a_plan_to_gamma_zero_has_no_step_target() -> None:
    plan = gs.make_plan("genie_ttm2", SCHEDULE, 4, denoise=True, options={"derivative": "head"})
    with pytest.raises(ValueError, match="ends at gamma = 0"):
        step_targets(plan)


# --- training


@pytest.mark.parametrize("options", [OPTIONS, STEP], ids=["pointwise", "step"])
def test_a_head_learns_its_targets(tmp_path: Path, options: genie.DistillOptions) -> None:
    many = replace(options, steps=60, learning_rate=5e-3, warmup_steps=5, save_every=100)
    run = distiller(tmp_path, many)
    seen = [list(run.source.chunk(number)) for number in range(run.options.chunks)]
    run.source = Same(seen)
    run.run()
    assert run.losses[-1] < 0.7 * run.losses[0]


def test_resumed_run_has_the_weights_of_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = distiller(tmp_path / "whole")
    whole.run()
    distiller(tmp_path / "parts").run(until=2)
    resumed = distiller(tmp_path / "parts")
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
    (at,) = pointwise(size=8).chunk(0)
    whole = distiller(tmp_path / "a", replace(OPTIONS, chunk_size=8))
    halves = [slice(0, 4), slice(4, 8)]

    def gradient(run: genie.Distiller, parts: list[Targets]) -> torch.Tensor:
        torch.nn.init.normal_(run.network.conv_out.weight, std=0.1, generator=torch.Generator().manual_seed(0))  # type: ignore[union-attr]
        run.source = type("Fixed", (), {"chunk": lambda _, number: iter([parts[number]])})()  # type: ignore[assignment]
        rows = torch.stack([run._chunk(number) for number in range(len(parts))])
        return rows.mean(0)

    def part(at: Targets, of: slice) -> Targets:
        cut = type(at.features)()
        cut.last, cut.embedding = at.features.last[of], at.features.embedding[of]
        return Targets(at.x[of], at.epsilon[of], cut, at.target[of], at.gamma[of])

    one, two = gradient(whole, [at]), gradient(whole, [part(at, half) for half in halves])
    assert torch.allclose(one, two, rtol=1e-4, atol=1e-4 * float(one.abs().max()))


WORKER = """
import sys, torch
sys.path.insert(0, {tests!r})
torch.set_num_threads(1)
import torch.distributed as dist
from pathlib import Path
from collections.abc import Iterator
from dataclasses import replace
from tests.samplers.genie.test_distill import OPTIONS, distiller, weights
dist.init_process_group("gloo")
run = distiller(Path({folder!r}), OPTIONS)
run.run()
torch.save((weights(run), run.losses), Path({folder!r}) / f"rank{{dist.get_rank()}}.pt")
dist.destroy_process_group()
"""


def test_two_processes_take_the_steps_of_one_to_the_bit(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        alone = distiller(tmp_path / "alone")
        alone.run()
    finally:
        torch.set_num_threads(threads)
    folder = tmp_path / "both"
    script = tmp_path / "worker.py"
    script.write_text(WORKER.format(tests=str(Path(__file__).parents[3]), folder=str(folder)))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (torch.load(folder / f"rank{rank}.pt") for rank in (0, 1))
    assert torch.equal(first[0], weights(alone)) and torch.equal(second[0], weights(alone))
    assert first[1] == alone.losses == second[1]
    assert (folder / "checkpoint.pt").exists()


# --- report and command


def test_the_error_of_a_new_head_is_the_target_itself() -> None:
    new = genie.GenieHead(genie.HeadConfig.of(model().network))  # type: ignore[arg-type]
    bands = derivative_errors(new, [at for number in range(3) for at in pointwise().chunk(number)])
    assert sum(band.samples for band in bands) == 15
    assert [band.relative for band in bands] == pytest.approx([1.0] * len(bands), rel=1e-6)


@torch.no_grad()
def test_the_error_of_a_head_is_that_of_what_the_plan_mixes() -> None:
    plan = head_plan("genie_ttm2", derivative_below=None)
    known = genie.GenieHead(genie.HeadConfig.of(model().network))  # type: ignore[arg-type]
    torch.nn.init.normal_(known.conv_out.weight, std=0.1, generator=torch.Generator().manual_seed(0))
    (at,) = replace(pointwise(), t_min=plan.times[1], t_max=plan.times[1]).chunk(0)
    mixed = plan.instructions[1].converted[1].q[1:]
    predicted = sum(q * k for q, k in zip(mixed, at.maps(known).chunk(3, dim=1), strict=True))
    (band,) = derivative_errors(known, [at])
    expected = float((predicted - at.target).double().square().mean().sqrt())
    assert band.error == pytest.approx(expected, rel=1e-5) and band.samples == 5


def test_the_command_distills_reports_and_exports(tmp_path: Path) -> None:
    network = tmp_path / "network"
    model().network.save_pretrained(network)  # type: ignore[union-attr]
    np.save(tmp_path / "images.npy", data().images.numpy())
    arguments = ["distill", "--network", network, "--label", "log_gamma", "--images", tmp_path / "images.npy"]
    arguments += ["--run", tmp_path / "run", "--steps", "2", "--batch-size", "4", "--export", network]
    result = CliRunner().invoke(main, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert genie.load_head(network).config.width == 8
    assert (tmp_path / "run" / "report.png").stat().st_size > 0
    with open(tmp_path / "run" / "report.csv", newline="") as file:
        kinds = [line["kind"] for line in csv.DictReader(file)]
    assert set(kinds) == {"derivative", "rmse"}
    assert "| parameters |" in (network / "genie_head" / "README.md").read_text()
