"""genie-samplers calibrate: fit a solver to a network."""

from __future__ import annotations

from pathlib import Path

import click

from ..calibrate import Calibrated, Reference, search
from ..calibrate.local_error import is_multistep
from ..files import check_target, write_text
from ..grids import GRIDS
from ..models import WrappedModel
from ..schedules import Schedule
from ..solvers.make import make_plan
from ..solvers.registry import UnreachableNFE
from .calibrate_analytic import analytic_command
from .calibrate_plan import plan_command
from .calibrate_tdas import tdas_command
from .calibrate_temperature import temperature_command
from .network import Chosen, network_options
from .options import check_device, nfe_option, out_option, solvers_option
from .types import COUNT, SEED, STEPS

__all__ = ["calibrate_command"]


@click.group("calibrate")
def calibrate_command() -> None:
    """Fit a solver to a network."""


calibrate_command.add_command(analytic_command)
calibrate_command.add_command(plan_command)
calibrate_command.add_command(tdas_command)
calibrate_command.add_command(temperature_command)


@calibrate_command.command("grid")
@network_options
@solvers_option("--solver", "deis_tab2", "The best one is kept.")
@nfe_option
@click.option("--latents", "count", type=COUNT, default=16, show_default=True, help="Calibration latents.")
@click.option("--seed", type=SEED, default=1, show_default=True, help="Of the calibration latents.")
@click.option("--check-latents", "check_count", type=COUNT, default=20, show_default=True, help="Held-out latents.")
@click.option("--check-seed", type=SEED, default=0, show_default=True, help="Theirs; another than --seed.")
@click.option(
    "--nodes", type=click.IntRange(2, 10**6), default=20, show_default=True,
    help="Steps of the lattice that the shortest path uses.",
)  # fmt: skip
@click.option(
    "--runs", type=STEPS, default=60, show_default=True, help="At most so many runs of the plan to refine the grid."
)
@out_option("plan.json", "The plan, for `sample --plan`.")
def grid_command(
    chosen: Chosen, solvers: tuple[str, ...], nfe: int, count: int, seed: int, check_count: int, check_seed: int,
    nodes: int, runs: int, out: Path,
) -> None:  # fmt: skip
    """Search a solver's time grid for a network, the embedded one by default; the plan runs with `sample --plan`."""
    check_device(chosen.device)
    if seed == check_seed:
        raise ValueError(f"--check-seed {check_seed} is --seed too; hold other latents out to check with")
    names = _reachable(solvers, chosen, nfe, nodes)
    check_target(out, suffix=".json", name="--out")
    chosen.shape(count)
    model = chosen.load()
    calibration = _record(chosen, model, seed, count, nodes)
    found = _calibrate_all(calibration, names, nfe, runs)
    best = min(found, key=lambda name: found[name].rmse)
    write_text(out, found[best].plan.to_json(indent=1) + "\n")
    click.echo(f"{out}: {best}, {nfe} evaluations, gamma {_gammas(found[best], chosen.schedule)}")
    _report_held_out(found[best], _record(chosen, model, check_seed, check_count, nodes))


def _record(chosen: Chosen, model: WrappedModel, seed: int, count: int, nodes: int) -> Reference:
    click.echo(f"fine solution of {count} latents, seed {seed}")
    return Reference.record(
        model, model.schedule, shape=chosen.shape(count), seed=seed, cond=chosen.cond(range(count)),
        prediction=model.outputs[0], nodes=nodes,
    )  # fmt: skip


def _reachable(names: tuple[str, ...], chosen: Chosen, nfe: int, nodes: int) -> list[str]:
    """The solvers that make ``nfe`` evaluations; ValueError where none does or one cannot be calibrated."""
    reachable, reasons = [], []
    for name in names:
        try:
            plan = make_plan(name, chosen.schedule, nfe, prediction=chosen.prediction)
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


def _gammas(found: Calibrated, schedule: Schedule) -> str:
    recipe = found.plan.recipe
    times = () if recipe is None else recipe.grid
    return ", ".join(f"{gamma:.4g}" for gamma in schedule.gamma(times))
