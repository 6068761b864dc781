"""The statistics of analytic_ddpm and analytic_ddim: measured on data where they are known, kept in a file."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import genie_samplers as gs
from genie_samplers.calibrate import AnalyticStatistics, analytic
from genie_samplers.cli import main
from genie_samplers.schedules import Schedule

VP = gs.schedules.vp_linear()
TABLE = gs.schedules.from_betas(gs.schedules.linear_betas())
V = 0.3
IMAGES = math.sqrt(V) * torch.randn(50, 1, 20, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
# standard deviation of the mean square of N d independent normals, relative to it; five of them
NEAR = 5.0 * math.sqrt(2.0 / IMAGES.numel())


class Exact:
    """The network of data N(0, V), in float64; t is its own label."""

    dtype = torch.float64

    def __init__(self, prediction: str = "epsilon", schedule: Schedule = VP) -> None:
        self.prediction, self.schedule = prediction, schedule

    def label(self, times: np.ndarray) -> np.ndarray:
        return np.asarray(times)

    def __call__(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        at = min(float(t[0]), self.schedule.t_max)
        alpha, sigma = float(self.schedule.alpha(at)), float(self.schedule.sigma(at))
        share = x / (alpha**2 * V + sigma**2)
        epsilon, x0 = sigma * share, alpha * V * share
        v, flow = alpha * epsilon - sigma * x0, epsilon - x0
        return {"epsilon": epsilon, "x0": x0, "v": v, "flow": flow}[self.prediction]


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("prediction", ["epsilon", "x0", "v", "flow"])
def test_the_statistic_of_gaussian_data_is_found(prediction: str, residual: bool) -> None:
    times = [0.05, 0.3, 0.8]
    found = analytic(Exact(prediction), VP, IMAGES, times=times, residual=residual, prediction=prediction, most=None)
    gamma = VP.gamma(times)
    assert np.abs(np.array(found.ms_eps) / (gamma**2 / (V + gamma**2)) - 1.0).max() <= NEAR
    assert (found.times, found.samples) == (tuple(times), 50)


def test_errors_of_predictions_are_exact_where_all_is_noise() -> None:
    """At gamma = 157 the mean square of the predictions varies by 1 %, 10^5 times the variance that it should tell."""
    of_errors = analytic(Exact(), VP, IMAGES, times=[1.0], residual=True).ms_eps[0]
    gamma = float(VP.gamma(1.0))
    assert gamma**2 * (1.0 - of_errors) == pytest.approx(V, rel=NEAR)


def test_a_table_is_measured_at_its_own_indices() -> None:
    times = analytic(Exact(schedule=TABLE), TABLE, IMAGES, nodes=12).times
    assert all(t == round(t) for t in times)
    assert (times[0], times[-1]) == (0.0, 999.0)


def test_a_continuous_schedule_is_measured_evenly_in_log_gamma() -> None:
    found = analytic(Exact(), VP, IMAGES[:10], nodes=6)
    steps = np.diff(VP.log_gamma(found.times))
    assert np.abs(steps / steps[0] - 1.0).max() <= 1e-9


def test_the_statistics_do_not_depend_on_the_batches() -> None:
    whole, parts = (analytic(Exact(), VP, IMAGES, times=[0.3], batch_size=size) for size in (None, 7))
    assert whole == parts


def test_a_plan_of_the_statistics_makes_the_data() -> None:
    found = analytic(Exact(), VP, IMAGES, residual=True)
    plan = gs.make_plan("analytic_ddpm", VP, 5, options={**found.options(VP), "noise_at_zero": True}, denoise=True)
    assert gs.sample(Exact(), plan, shape=(50, 1, 20, 20)).var().item() == pytest.approx(V, rel=3 * NEAR)


def test_statistics_are_read_as_they_were_written(tmp_path: Path) -> None:
    found = analytic(Exact(schedule=TABLE), TABLE, IMAGES[:10], nodes=3, most=None)
    found.save(tmp_path / "s.json")
    assert AnalyticStatistics.load(tmp_path / "s.json") == found


def written(folder: Path, **changes: object) -> Path:
    path = folder / "s.json"
    AnalyticStatistics(VP, (0.5,), (0.9,), 10).save(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "a plan"}, "s.json: cannot be read .format 'a plan', keys"),
        ({"more": 1}, "s.json: cannot be read .format 'genie_samplers analytic statistics', keys"),
        ({"times": "soon"}, "s.json: cannot be read .times has dtype"),
        ({"samples": 1.5}, "s.json: cannot be read .samples=1.5: give an integer"),
    ],
)
def test_a_damaged_file_is_refused_with_the_fix(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message + ".*write one with `genie-samplers calibrate analytic`"):
        AnalyticStatistics.load(written(tmp_path, **changes))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: analytic(Exact(), VP, IMAGES[:9]), ValueError, "images: 9 of them; give 10 or more"),
        (lambda: analytic(Exact(), VP, IMAGES.long()), TypeError, "images: need a float tensor"),
        (lambda: analytic(Exact(), VP, IMAGES, times=[]), ValueError, "times=..; give a list of different times"),
        (lambda: analytic(Exact(), VP, IMAGES, times=[[0.5]]), ValueError, "times=.*; give a list of different times"),
        (lambda: analytic(Exact(), VP, IMAGES, times=[0.5, 0.5]), ValueError, "times=.*; give a list of different"),
        (
            lambda: analytic(Exact(), VP, IMAGES, times=[0.0, 0.5]),
            ValueError,
            "times=.*; need times of noise, gamma > 0",
        ),
        (lambda: analytic(Exact(), VP, IMAGES, most=-1.0), ValueError, "most=-1.0; give a positive finite number"),
        (lambda: analytic(Exact(), VP, IMAGES, nodes=1), ValueError, "nodes=1: give 2 or more"),
        (
            lambda: analytic(lambda x, t: torch.zeros_like(x), VP, IMAGES, times=[0.5]),
            ValueError,
            "model: ms_eps=0.0 at t=0.5; check its prediction type",
        ),
        (
            lambda: AnalyticStatistics(VP, (0.5,), (0.9,), 10).options(TABLE),
            ValueError,
            "schedule=.*the statistics were measured on .*, measure again",
        ),
    ],
)
def test_bad_input_is_refused_with_the_fix(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def command(*arguments: object) -> Any:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def test_the_command_line_measures_and_samples(tmp_path: Path) -> None:
    out, picture = tmp_path / "s.json", tmp_path / "x.png"
    made = command("calibrate", "analytic", "--data", "samples", "--count", 10, "--nodes", 2, "--out", out)
    assert made.exit_code == 0, made.output
    assert "10 images of samples, 2 times" in made.output
    run = ("--solver", "analytic_ddim", "--nfe", 2, "--count", 1)
    sampled = command("sample", *run, "--statistics", out, "--out", picture)
    assert sampled.exit_code == 0, sampled.output
    assert picture.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--solver analytic_ddpm", "--solver analytic_ddpm: knows no statistics of the network; give --statistics"),
        ("--solver ddpm --statistics s.json", "--statistics: of analytic_ddpm and analytic_ddim, not of ddpm"),
        ("--plan s.json --statistics s.json", "--statistics with --plan: the plan decides it"),
    ],
)
def test_statistics_that_the_solver_lacks_or_cannot_use_are_refused(
    arguments: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path)
    monkeypatch.chdir(tmp_path)
    result = command("sample", *arguments.split())
    assert result.exit_code != 0
    assert message in " ".join((result.output or str(result.exception)).split())
