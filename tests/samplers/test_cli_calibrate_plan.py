"""calibrate plan, and the plans beside a network that `sample` and make_plan take."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch

import genie_samplers as gs

from .command_line import refused, run
from .network_folders import save_unet

pytest.importorskip("diffusers")

VP = gs.schedules.vp_linear()
OPTIONS = ("--schedule", "vp_linear", "--latents", 4, "--held-out", 4, "--steps", 2, "--batch-size", 2, "--fine", 40)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network with a plan for three evaluations beside it."""
    folder = save_unet(tmp_path_factory.mktemp("network"))
    run("calibrate", "plan", "--network", folder, *OPTIONS, "--nfe", 3, "--out", folder / "genie_plans" / "nfe-3.json")
    return folder


def sampled(network: Path, tmp_path: Path, *arguments: object) -> str:
    given = ("--network", network, "--schedule", "vp_linear", "--count", 2, "--out", tmp_path / "x.png")
    return run("sample", *given, *arguments)


def test_it_says_what_was_fitted_and_how_good_it_is(tmp_path: Path) -> None:
    folder = save_unet(tmp_path / "network")
    given = ("--network", folder, *OPTIONS, "--nfe", 4, "--solver", "ddim", "--free", "weights")
    files = ("--run", tmp_path / "run", "--page", tmp_path / "page.html", "--out", tmp_path / "plan.json")
    said = run("calibrate", "plan", *given, *files)
    assert "fine solution of 4 + 4 latents: 40 steps, within" in said
    assert "start ddim:" in said and "on held-out latents" in said
    plan = gs.Plan.from_json((tmp_path / "plan.json").read_text())
    assert plan.recipe is not None and plan.recipe.grid == gs.make_plan("ddim", VP, 4).recipe.grid  # type: ignore[union-attr]
    assert plan.calibration is not None and plan.calibration["latents"] == 4
    page = (tmp_path / "page.html").read_text()
    assert "start, ddim" in page and "calibrate plan --network" in page
    assert {"checkpoint.safetensors", "targets.safetensors", "held_out.safetensors"} <= {
        path.name for path in (tmp_path / "run").iterdir()
    }


def test_sample_takes_the_plan_beside_the_network_and_says_so(network: Path, tmp_path: Path) -> None:
    said = sampled(network, tmp_path, "--nfe", 3)
    assert "a plan calibrated to this network for 3 evaluations; --solver auto takes one by its score" in said
    assert "2 images, calibrated from " in said
    assert (tmp_path / "x.png").exists()


@pytest.mark.parametrize("given", [("--nfe", 4), ("--nfe", 3, "--solver", "auto"), ("--nfe", 3, "--grid", "karras"),
                                   ("--nfe", 3, "--guidance", 2.0), ("--nfe", 3, "--clip", 1.0)], ids=str)  # fmt: skip
def test_sample_takes_another_where_something_else_is_asked_for(
    network: Path, tmp_path: Path, given: tuple[object, ...]
) -> None:
    assert "calibrated" not in sampled(network, tmp_path, *given)


def test_calibrated_by_name_is_the_plan_or_an_error_that_says_which_there_are(network: Path, tmp_path: Path) -> None:
    sampled(network, tmp_path, "--nfe", 3, "--solver", "calibrated")
    said = refused("sample", "--network", network, "--schedule", "vp_linear", "--nfe", 5, "--solver", "calibrated")
    assert "nfe=5: no plan nfe-5.json was fitted to this network (there are plans for 3)" in said
    said = refused("sample", "--network", network, "--schedule", "vp_linear", "--nfe", 3, "--solver", "calibrated",
                   "--grid", "karras")  # fmt: skip
    assert "--grid with --solver calibrated" in said


def test_compare_runs_it_beside_others(network: Path, tmp_path: Path) -> None:
    run("compare", "--network", network, "--schedule", "vp_linear", "--solvers", "ddim,calibrated", "--nfe", "3,4",
        "--fine", 20, "--count", 2, "--out", tmp_path / "compare.png")  # fmt: skip
    rows = (tmp_path / "compare.csv").read_text().splitlines()
    assert [row.split(",")[:2] for row in rows[1:]] == [["ddim", "3"], ["ddim", "4"], ["calibrated", "3"]]


@pytest.mark.parametrize("given", [("--clip", 1.0), ("--grid", "karras")], ids=str)
def test_compare_does_not_run_it_as_if_it_were_made_otherwise(
    network: Path, tmp_path: Path, given: tuple[object, ...]
) -> None:
    said = run("compare", "--network", network, "--schedule", "vp_linear", "--solvers", "ddim,calibrated", "--nfe", 3,
               "--fine", 20, "--count", 2, "--out", tmp_path / "compare.png", *given)  # fmt: skip
    assert "skipped: its numbers are fitted; run it without grid, clip and options" in said


def test_make_plan_finds_it(network: Path) -> None:
    model = gs.models.load(network, VP)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plan = gs.make_plan("calibrated", VP, 3, model=model)
    assert plan.calibration is not None and plan.nfe == 3
    with pytest.raises(ValueError, match=r"fitted on .*VPLinear.*, not on .*calibrate it there"):
        gs.make_plan("calibrated", gs.schedules.vp_cosine(), 3, model=model)
    with pytest.raises(ValueError, match="give nothing but schedule, nfe and model"):
        gs.make_plan("calibrated", VP, 3, model=model, grid="karras")
    with pytest.raises(ValueError, match="model has no plans fitted to it"):
        gs.make_plan("calibrated", VP, 3, model=lambda x, t: x)


def test_another_network_is_warned_of_with_both_fingerprints(network: Path, tmp_path: Path) -> None:
    model = gs.models.load(network, VP)
    own = gs.models.network_fingerprint(model)
    with torch.no_grad():
        next(model.network.parameters()).add_(1e-3)  # type: ignore[union-attr]
    other = gs.models.network_fingerprint(model)
    with pytest.warns(UserWarning, match=f"fitted to the network {own[:12]}, and this one is {other[:12]}"):  # type: ignore[index]
        gs.make_plan("calibrated", VP, 3, model=model)
    stranger = save_unet(tmp_path / "stranger", in_channels=1, out_channels=1)
    with pytest.warns(UserWarning, match="fitted to the network"):
        run("sample", "--network", stranger, "--schedule", "vp_linear", "--count", 1, "--plan",
            network / "genie_plans" / "nfe-3.json", "--out", tmp_path / "y.png")  # fmt: skip


def test_a_broken_plan_beside_the_network_is_named(tmp_path: Path) -> None:
    folder = save_unet(tmp_path / "network")
    (folder / "genie_plans").mkdir()
    (folder / "genie_plans" / "nfe-3.json").write_text("{}")
    assert "nfe-3.json" in refused("sample", "--network", folder, "--schedule", "vp_linear", "--nfe", 3)


def test_a_network_with_a_head_is_calibrated_without_it(tmp_path: Path) -> None:
    few = ("--latents", 4, "--held-out", 4, "--steps", 1, "--batch-size", 2, "--fine", 30, "--nfe", 3)
    run("calibrate", "plan", *few, "--out", tmp_path / "plan.json")
    assert gs.Plan.from_json((tmp_path / "plan.json").read_text()).outputs == ("epsilon",)


def test_a_range_needs_both_ends() -> None:
    assert "--guidance-to 3" in refused("calibrate", "plan", "--guidance-to", 3)
