"""genie-samplers calibrate: fit a solver to the embedded network."""

from __future__ import annotations

from pathlib import Path

import click
import torch

from .. import demo, models, schedules
from .._arguments import integer
from ..calibrate import Calibrated, Reference, search
from ..calibrate.local_error import is_multistep
from ..grids import GRIDS
from ..run.inputs import signed_seed
from ..solvers.registry import UnreachableNFE, make_plan
from . import images
from .options import IMAGE_SHAPE, check_device, device_option, nfe_option, out_option, split

__all__ = ["calibrate_group"]


@click.group("calibrate")
def calibrate_group() -> None:
    """Fit a solver to the embedded network."""


@calibrate_group.command("grid")
@click.option(
    "--solver", "solvers", default="deis_tab2", show_default=True, help="Comma-separated names; the best one is kept."
)
@nfe_option
@click.option("--latents", "count", default=16, show_default=True, help="Calibration latents.")
@click.option("--seed", default=1, show_default=True, help="Theirs.")
@click.option("--check-latents", "check_count", default=20, show_default=True, help="Held-out latents.")
@click.option("--check-seed", default=0, show_default=True, help="Theirs; must differ from --seed.")
@click.option("--nodes", default=20, show_default=True, help="Steps of the lattice that the shortest path uses.")
@click.option("--runs", default=60, show_default=True, help="At most so many runs of the plan to refine the grid.")
@device_option
@out_option("plan.json")
def grid_command(
    solvers: str, nfe: int, count: int, seed: int, check_count: int, check_seed: int, nodes: int, runs: int,
    device: str, out: Path,
) -> None:  # fmt: skip
    """Search a solver's time grid for the embedded network; the plan runs with `sample --plan`."""
    names = split("--solver", solvers)
    for option, value in (("--latents", count), ("--check-latents", check_count)):
        if value < 1:
            raise ValueError(f"{option} {value}; need at least 1")
    integer(runs, "--runs", least=0)
    check_device(device)
    for given in (seed, check_seed):
        signed_seed(given)
    if seed == check_seed:
        raise ValueError(f"--check-seed {check_seed} is --seed too; hold other latents out to check with")
    names = _reachable(names, nfe, integer(nodes, "--nodes", least=2))
    images.check_target(out, suffix=".json")
    network = demo.embedded(device)
    calibration = _record(network, seed, count, nodes)
    found = _calibrate_all(calibration, names, nfe, runs)
    best = min(found, key=lambda name: found[name].rmse)
    out.write_text(found[best].plan.to_json(indent=1) + "\n", encoding="utf-8")
    click.echo(f"{out}: {best}, {nfe} evaluations, gamma {_gammas(found[best])}")
    _report_held_out(found[best], _record(network, check_seed, check_count, nodes))


def _record(network: models.WrappedModel, seed: int, count: int, nodes: int) -> Reference:
    click.echo(f"fine solution of {count} latents, seed {seed}")
    return Reference.record(
        network, schedules.vp_linear(), shape=(count, *IMAGE_SHAPE), seed=seed,
        cond={"class_labels": torch.arange(count) % 10}, nodes=nodes,
    )  # fmt: skip


def _reachable(names: list[str], nfe: int, nodes: int) -> list[str]:
    """The solvers that make ``nfe`` evaluations; ValueError where none does or one cannot be calibrated."""
    reachable, reasons = [], []
    for name in names:
        try:
            plan = make_plan(name, schedules.vp_linear(), nfe)
        except UnreachableNFE as error:
            reasons.append(str(error))
            continue
        if plan.stochastic:
            raise ValueError(f"--solver {name}: draws noise; choose an ODE solver")
        if plan.recipe is not None and is_multistep(plan) and len(plan.recipe.grid) - 1 > nodes:
            raise ValueError(f"--nodes {nodes}: fewer than the steps of {name} at --nfe {nfe}; give more")
        reachable.append(name)
    if not reachable:
        raise UnreachableNFE("; ".join(reasons))
    return reachable


def _calibrate_all(reference: Reference, names: list[str], nfe: int, runs: int) -> dict[str, Calibrated]:
    found: dict[str, Calibrated] = {}
    for name in names:
        found[name] = search(reference, name, nfe, runs=runs, report=lambda line: click.echo(f"  {line}"))
        click.echo(f"{name:14s} rmse {found[name].rmse:.4f}, {found[name].runs} runs")
    return found


def _report_held_out(found: Calibrated, held_out: Reference) -> None:
    click.echo(f"held-out rmse: calibrated {held_out.rmse(found.plan):.4f}")
    for name in (name for name in found.starts if name in GRIDS):
        click.echo(f"  {name:14s} {held_out.rmse(found.starts[name]):.4f}")


def _gammas(found: Calibrated) -> str:
    recipe = found.plan.recipe
    times = () if recipe is None else recipe.grid
    return ", ".join(f"{gamma:.4g}" for gamma in schedules.vp_linear().gamma(times))
