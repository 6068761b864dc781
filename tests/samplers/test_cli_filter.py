"""`sample --filter`: the noise of a run through a filter that was written to a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import genie_samplers as gs
from genie_samplers import tdas
from genie_samplers.plan import filtered

from .command_line import refused, run
from .network_folders import save_unet

pytest.importorskip("diffusers", reason="the networks are diffusers U-Nets")
pytest.importorskip("safetensors", reason="filters are written as safetensors")

VE = gs.schedules.ve(sigma_max=10.0)
SPEC = tdas.FilterSpec("dct", tdas.radial_filter((8, 8), lambda1=0.7, r1=0.3, lambda2=0.4, r2=0.6))


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = save_unet(tmp_path_factory.mktemp("coloured") / "unet")
    gs.models.write_description(folder, VE, "epsilon", "log_gamma", input="unit_variance")
    return folder


@pytest.fixture(scope="module")
def filter_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(SPEC, tmp_path_factory.mktemp("filters") / "filter.json")


def saved(spec: tdas.FilterSpec, path: Path) -> Path:
    spec.save(path)
    return path


def made(folder: Path) -> np.ndarray:
    return np.stack([np.load(path)["latents"] for path in sorted(folder.glob("*.npz"))])


def expected(network: Path, plan: gs.Plan, **options: object) -> np.ndarray:
    model = gs.models.load(network)
    cond = {"class_labels": torch.arange(4) % 3}
    return gs.sample(model, plan, shape=(4, 3, 8, 8), seed=2, cond=cond, batch_size=4, **options).numpy()  # type: ignore[arg-type]


def arguments(network: Path, solver: str, nfe: int) -> tuple[object, ...]:
    return (
        "--network", network, "--solver", solver, "--nfe", nfe, "--count", 4, "--batch-size", 4, "--seed", 2,
        "--format", "npz",
    )  # fmt: skip


@pytest.mark.parametrize("mode", ["tdas", "pds"])
def test_a_sampler_with_langevin_steps_is_told_of_the_filter(
    mode: str, network: Path, filter_file: Path, tmp_path: Path
) -> None:
    filter_options = ("--filter", filter_file, "--filter-mode", mode)
    run("sample", *arguments(network, "predictor_corrector", 6), *filter_options, "--out", f"{tmp_path / 'made'}/")
    plan = gs.make_plan("predictor_corrector", VE, 6, options={"filter": mode})
    operators = tdas.operators(SPEC, adjoint=mode == "pds")
    assert np.array_equal(made(tmp_path / "made"), expected(network, plan, operators=operators))


def test_any_stochastic_plan_is_run_with_its_noise_filtered(network: Path, filter_file: Path, tmp_path: Path) -> None:
    run("sample", *arguments(network, "ddpm", 3), "--filter", filter_file, "--out", f"{tmp_path / 'made'}/")
    plain = gs.make_plan("ddpm", VE, 3)
    found = made(tmp_path / "made")
    assert np.array_equal(found, expected(network, filtered(plain, "filter"), operators=tdas.operators(SPEC)))
    assert not np.array_equal(found, expected(network, plain))


@pytest.mark.parametrize(
    ("others", "message"),
    [
        (("--solver", "ddim"), "--filter: the plan draws no noise to be filtered; take a stochastic solver"),
        (("--solver", "auto"), "--filter: the plan draws no noise to be filtered"),
        (("--solver", "ddpm", "--filter-mode", "pds"), "--filter-mode pds: of predictor_corrector and annealed"),
        (("--plan", "plan.json"), "--filter with --plan: the plan decides it"),
    ],
)
def test_what_does_not_go_with_a_filter_is_refused(
    others: tuple[str, ...], message: str, network: Path, filter_file: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("plan.json").write_text(gs.make_plan("ddpm", VE, 2).to_json())
    assert message in refused("sample", "--network", network, "--filter", filter_file, *others)


def test_a_filter_of_other_samples_is_refused(network: Path, tmp_path: Path) -> None:
    path = saved(tdas.FilterSpec("dct", np.ones((28, 28))), tmp_path / "other.json")
    text = refused("sample", "--network", network, "--solver", "ddpm", "--filter", path)
    assert f"--filter {path}" in text and "28" in text
