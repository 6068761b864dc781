"""The quality table: complete, resumable, the same network and latents for everybody."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("diffusers")
pytest.importorskip("torchmetrics")

import genie_samplers as gs
from benchmarks.quality import run
from benchmarks.quality.diffusers_schedulers import ENTRIES, SCHEDULERS, DiffusersRun, betas, runs
from benchmarks.quality.problem import Problem
from benchmarks.quality.sample import SampleSet
from genie_samplers.plan import Plan

SCHEDULE = gs.schedules.vp_linear()
SPREAD = 0.3  # of the data of the toy network
every_scheduler = pytest.mark.parametrize("name", [scheduler.name for scheduler in SCHEDULERS])


class Toy(nn.Module):
    """The exact noise prediction for data of normal pixels; counts its calls and remembers its classes."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.classes: list[int] = []

    def forward(self, x: Tensor, label: Tensor, class_labels: Tensor) -> Tensor:
        self.calls += 1
        self.classes = class_labels.tolist()
        gamma_squared = torch.exp(2.0 * label[:, None, None, None])
        sigma = torch.sqrt(gamma_squared / (1.0 + gamma_squared))
        return x / sigma * gamma_squared / (gamma_squared + SPREAD**2)


def toy_problem(network: Toy, seed: int = 0) -> Problem:
    return Problem(gs.models.wrap(network, SCHEDULE, label=SCHEDULE.log_gamma), (network,), shape=(1, 4, 4), seed=seed)


@pytest.fixture
def network() -> Toy:
    return Toy()


@pytest.fixture
def problem(network: Toy) -> Problem:
    return toy_problem(network)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def ddim_on_their_times(theirs: DiffusersRun) -> Plan:
    times = (theirs.scheduler().timesteps.numpy() + 1.0) / ENTRIES
    return gs.solvers.ddim(SCHEDULE, [*times, theirs.end])


# --- the schedulers of diffusers


def test_the_table_of_diffusers_is_the_schedule_at_its_thousandths() -> None:
    alphas_cumprod = np.cumprod(1.0 - betas(SCHEDULE))
    expected = SCHEDULE.alpha(np.arange(1, ENTRIES + 1) / ENTRIES) ** 2
    # a product of k factors, each rounded
    np.testing.assert_allclose(alphas_cumprod, expected, rtol=2 * ENTRIES * 2.0**-53)


@pytest.mark.parametrize("nfe", [4, 10, 20])
def test_ddim_of_diffusers_is_our_ddim_on_the_same_times(problem: Problem, nfe: int) -> None:
    (theirs,) = [r for r in runs(problem, [nfe]) if r.name == "DDIM"]
    ours = problem.solve(ddim_on_their_times(theirs), range(3))
    # their table is a product of up to 1000 float32 factors, read once a step
    allowed = nfe * ENTRIES * 2.0**-24 * np.abs(ours).max()
    assert np.abs(theirs.solve(range(3)) - ours).max() < allowed


@every_scheduler
def test_the_network_is_called_as_often_as_the_nfe_says(problem: Problem, network: Toy, name: str) -> None:
    theirs = next(r for r in runs(problem, [13]) if r.name == name)
    theirs.solve(range(2))
    assert (theirs.nfe, network.calls) == (13, 13)


def largest_error(problem: Problem, name: str, steps: int) -> float:
    (theirs, *_) = next(s for s in SCHEDULERS if s.name == name).runs(problem, steps)
    fine = problem.solve(problem.fine_plan(100, end=theirs.end), range(2))
    return float(np.abs(theirs.solve(range(2)) - fine).max())


@every_scheduler
def test_five_times_the_steps_are_far_nearer_to_the_fine_solution(problem: Problem, name: str) -> None:
    # order 1 or more: a fifth; numbers of steps that divide their 1000 entries
    assert largest_error(problem, name, 50) < 0.3 * largest_error(problem, name, 10)


@pytest.mark.parametrize(
    ("name", "grid", "nfe", "end"),
    [
        ("DDIM", "trailing", 5, "t_zero"),
        ("DDIM", "trailing", 6, "t_end"),  # 1000 // 6 steps from 166 lead to 0, not beyond
        ("PNDM", "trailing", 14, "t_end"),
        ("DEIS 3", "linspace", 5, "t_end"),
        ("DPM++ 2M", "linspace", 5, "t_zero"),
        ("DPM++ 2M", "karras", 5, "t_zero"),
        ("UniPC 3", "linspace to sigma_min", 5, "t_end"),
        ("Heun", "karras", 5, "t_zero"),
    ],
)
def test_a_scheduler_ends_where_its_table_ends(problem: Problem, name: str, grid: str, nfe: int, end: str) -> None:
    (theirs,) = [r for r in runs(problem, [nfe]) if (r.name, r.grid) == (name, grid)]
    assert theirs.end == getattr(SCHEDULE, end)


def test_two_stage_steps_skip_the_numbers_they_cannot_make(problem: Problem) -> None:
    assert {r.nfe for r in runs(problem, [4, 5, 6]) if r.name == "Heun"} == {5}


# --- the problem


def test_latents_are_what_the_engine_starts_from(problem: Problem) -> None:
    starts: list[Tensor] = []

    def model(x: Tensor, t: Tensor, **_: object) -> Tensor:
        starts.append(x.clone())
        return x

    plan = gs.make_plan("deis_tab2", SCHEDULE, 4)
    gs.sample(model, plan, shape=(2, 1, 4, 4), seed=0, sample_ids=[5, 9])
    assert torch.equal(problem.latents([5, 9]), starts[0])


def test_classes_follow_the_number_of_the_latent(problem: Problem, network: Toy) -> None:
    problem.solve(gs.make_plan("ddim", SCHEDULE, 1), [8, 9, 10, 21])
    assert network.classes == [8, 9, 0, 1]


def test_a_plan_is_known_by_what_it_does(problem: Problem) -> None:
    names = ("ddim", "deis_tab0", "deis_tab1")
    ddim, the_same, other = (problem.key(gs.make_plan(name, SCHEDULE, 5, grid="karras")) for name in names)
    assert ddim == the_same != other


def test_another_seed_has_another_key(problem: Problem) -> None:
    plan = gs.make_plan("ddim", SCHEDULE, 5)
    assert problem.key(plan) != toy_problem(Toy(), seed=1).key(plan)


# --- the command

SMALL = ["--solvers", "ddim,deis_tab1,edm_heun,ddpm", "--grids", "karras,uniform_t", "--nfe", "4", "--count", "2"]


def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: Toy, *extra: str) -> Path:
    monkeypatch.setattr(run, "embedded_problem", lambda seed: toy_problem(network))
    out = tmp_path / "out"
    assert run.main([*SMALL, "--fine", "30", "--out", str(out), "--cache", str(tmp_path / "cache"), *extra]) == 0
    return out


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_every_reachable_cell_is_in_the_csv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: Toy) -> None:
    out = command(tmp_path, monkeypatch, network, "--no-diffusers")
    cells = [(row["solver"], row["grid"], row["end"], row["nfe"]) for row in rows(out / "quality.csv")]
    expected = [(s, g, "t_end", "4") for s in ("ddim", "deis_tab1") for g in ("karras", "uniform_t")]
    assert cells == expected  # Heun cannot make 4 evaluations, DDPM draws noise


def test_the_error_is_that_to_the_exact_solution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: Toy, problem: Problem
) -> None:
    out = command(tmp_path, monkeypatch, network, "--no-diffusers", "--fine", "100")
    (row,) = [r for r in rows(out / "quality.csv") if (r["solver"], r["grid"]) == ("ddim", "karras")]
    # x_t of normal data is the latent times the ratio of the marginals' deviations
    deviation = np.hypot(SCHEDULE.alpha([1e-3, 1.0]) * SPREAD, SCHEDULE.sigma([1e-3, 1.0]))
    exact = problem.latents(range(2)).numpy() * deviation[0] / deviation[1]
    states = problem.solve(gs.make_plan("ddim", SCHEDULE, 4, grid="karras"), range(2))
    assert float(row["rmse"]) == pytest.approx(np.sqrt(np.mean((states - exact) ** 2)), rel=1e-3)


def test_diffusers_stands_beside_ours_in_csv_and_markdown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: Toy
) -> None:
    out = command(tmp_path, monkeypatch, network)
    text = (out / "quality.md").read_text()
    assert {r["library"] for r in rows(out / "quality.csv")} == {"genie-ext", "diffusers"}
    assert "| genie-ext | `ddim` | " in text and "| diffusers | `DDIM` | " in text
    assert (out / "work_precision.png").stat().st_size > 0


def test_a_run_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: Toy) -> None:
    first = (command(tmp_path, monkeypatch, network, "--no-diffusers") / "quality.csv").read_bytes()
    lost = min((tmp_path / "cache" / "states").iterdir(), key=lambda path: path.stat().st_size)
    lost.unlink()
    network.calls = 0
    assert (command(tmp_path, monkeypatch, network, "--no-diffusers") / "quality.csv").read_bytes() == first
    assert network.calls in (4, 30)  # one cell of 4 evaluations, or the fine solution


def test_sample_files_are_the_same_however_often_a_run_stops(problem: Problem, tmp_path: Path) -> None:
    plan = gs.make_plan("ddim", SCHEDULE, 2)
    whole, parts = (SampleSet(problem, "ddim", "karras", plan, tmp_path / name) for name in ("whole", "parts"))
    expected = whole.pixels(900)
    parts.chunk(2)
    assert parts.missing(900) == [0, 1]
    assert np.array_equal(parts.pixels(900), expected) and len(expected) == 900
    assert parts.missing(900) == []
