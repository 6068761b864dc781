"""sample --filter: filters and gains of files, with any stochastic solver and with those that filter by themselves."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

import genie_samplers as gs
from genie_samplers import tdas
from genie_samplers.cli import main
from genie_samplers.plan import filtered

from .network_folders import save_unet

pytest.importorskip("diffusers")
VP = gs.schedules.vp_linear()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network and files of filters for it."""
    folder = tmp_path_factory.mktemp("filters")
    save_unet(folder / "network")
    tdas.FilterSpec("dft", np.ones((8, 8))).save(folder / "ones.json")
    tdas.FilterSpec("dct", tdas.radial_filter((8, 8), lambda1=0.3, r1=0.2)).save(folder / "zones.json")
    tdas.published("cifar10", iterations=50).save(folder / "large.json")
    plan = gs.make_plan("ddpm", VP, 3)
    tdas.gains_from_spectrum(plan, np.ones((8, 8))).save(folder / "gains.json")
    tdas.NoiseGains("dct", np.linspace(0.5, 2.0, 3)[:, None, None] * np.ones((8, 8))).save(folder / "three.json")
    langevin = gs.make_plan("predictor_corrector", VP, 4, options={"filter": "tdas"})
    (folder / "langevin_plan.json").write_text(langevin.to_json())
    return folder


def sampled(home: Path, *arguments: object) -> Result:
    run = ["sample", "--network", home / "network", "--schedule", "vp_linear", "--count", 2, "--nfe", 3, *arguments]
    return CliRunner().invoke(main, [str(a) for a in run])


def pixels(home: Path, tmp_path: Path, *arguments: object) -> bytes:
    out = Path(tempfile.mkdtemp(dir=tmp_path))
    result = sampled(home, *arguments, "--format", "npz", "--out", out)
    assert result.exit_code == 0, result.output
    return b"".join(np.load(path)["latents"].tobytes() for path in sorted(out.glob("*.npz")))


def test_a_filter_of_ones_changes_no_bit(home: Path, tmp_path: Path) -> None:
    made = (pixels(home, tmp_path, "--solver", "ddpm", *more) for more in ((), ("--filter", home / "ones.json")))
    assert next(made) == next(made)


@pytest.mark.parametrize("file", ["zones.json", "gains.json"])
def test_a_filter_and_gains_change_the_samples(file: str, home: Path, tmp_path: Path) -> None:
    made = (pixels(home, tmp_path, "--solver", "ddpm", *more) for more in ((), ("--filter", home / file)))
    assert next(made) != next(made)


def expected(home: Path, plan: gs.Plan, **options: Any) -> bytes:
    model = gs.models.load(home / "network", VP)
    cond = {"class_labels": torch.arange(2) % 3}
    return gs.sample(model, plan, shape=(2, 3, 8, 8), seed=0, cond=cond, batch_size=64, **options).numpy().tobytes()


@pytest.mark.parametrize("mode", ["tdas", "pds"])
def test_a_langevin_solver_filters_by_itself(mode: str, home: Path, tmp_path: Path) -> None:
    solver = ("--solver", "predictor_corrector", "--nfe", 4, "--filter", home / "zones.json", "--filter-mode", mode)
    plan = gs.make_plan("predictor_corrector", VP, 4, options={"filter": mode})
    operators = tdas.operators(tdas.FilterSpec.load(home / "zones.json"), adjoint=mode == "pds")
    assert pixels(home, tmp_path, *solver) == expected(home, plan, operators=operators)


def test_a_langevin_solver_takes_the_gains_of_each_draw(home: Path, tmp_path: Path) -> None:
    plan = filtered(gs.make_plan("predictor_corrector", VP, 4), "filter", by_draw=True)
    operators = tdas.operators(tdas.NoiseGains.load(home / "three.json"))
    found = pixels(home, tmp_path, "--solver", "predictor_corrector", "--nfe", 4, "--filter", home / "three.json")
    assert found == expected(home, plan, operators=operators)


def test_any_stochastic_plan_is_run_with_its_noise_filtered(home: Path, tmp_path: Path) -> None:
    plan = filtered(gs.make_plan("ddpm", VP, 3), "filter")
    operators = tdas.operators(tdas.FilterSpec.load(home / "zones.json"))
    found = pixels(home, tmp_path, "--solver", "ddpm", "--filter", home / "zones.json")
    assert found == expected(home, plan, operators=operators)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--nfe 3 --solver ddim --filter ones.json", "ones.json: the plan draws no noise; take a stochastic solver"),
        (
            "--nfe 3 --solver ddpm --filter large.json",
            "filter is for samples [..., 32, 32], the model's are [1, 3, 8, 8]",
        ),
        ("--solver ddpm --nfe 5 --filter gains.json", "draws, and the plan has"),
        ("--nfe 3 --solver ddpm --filter ones.json --filter-mode pds", "--filter-mode pds: of predictor_corrector and"),
        ("--nfe 3 --solver ddpm --filter-mode pds", "--filter-mode pds: of a filter; give --filter, too"),
        (
            "--solver predictor_corrector --nfe 4 --filter three.json --filter-mode pds",
            "--filter-mode pds: of a filter, and three.json holds gains; leave it out",
        ),
        ("--plan langevin_plan.json --filter three.json", "gains: the plan hands its operator no number of a draw"),
        ("--plan ones.json --filter-mode pds", "--filter-mode with --plan: the plan decides it"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_fix(
    arguments: str, message: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    run = ["sample", "--network", "network", "--schedule", "vp_linear", *arguments.split()]
    result = CliRunner().invoke(main, run)
    assert result.exit_code != 0
    assert message in " ".join((result.output or str(result.exception)).split())
