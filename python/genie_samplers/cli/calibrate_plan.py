"""genie-samplers calibrate plan: the numbers of a plan fitted to a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .. import pages
from ..calibrate import CalibratedPlan
from ..calibrate import plan as calibrate_plan
from ..calibrate.learned import FREE
from ..files import check_target, write_text
from ..models import Model, guidance
from ..uses.compare import Cell, Comparison, rmse
from .network import Chosen, network_options
from .options import (
    check_device,
    class_option,
    grid_option,
    nfe_option,
    out_option,
    page_option,
    run_option,
    seed_option,
    solver_option,
)
from .typed import typed
from .types import COUNT, POSITIVE, STEPS, Names, Real

__all__ = ["plan_command"]

_MEBIBYTE = 1 << 20


@click.command("plan")
@network_options
@solver_option(text="That the plan starts as: auto, or a deterministic one of one evaluation a step.")
@nfe_option
@grid_option
@click.option("--latents", "count", type=COUNT, default=64, show_default=True, help="Latents that it is fitted to.")
@click.option("--held-out", type=COUNT, default=32, show_default=True, help="Other ones, on which the best is kept.")
@class_option
@click.option("--guidance", "scale", type=Real(), help="Classifier-free guidance that the plan is to serve.")
@click.option(
    "--guidance-to", "scale_to", type=Real(), help="The end of a range of guidance that begins at --guidance."
)  # fmt: skip
@click.option(
    "--free", type=Names(FREE, "part of a plan"), default=",".join(FREE), show_default=True,
    help="What may change: times, the labels that the network is told, weights, and the sums of weights, which are 1"
    " otherwise.",
)  # fmt: skip
@click.option("--history", type=STEPS, help="Earlier outputs that a row reads; 5, or as many as the start, by default.")
@click.option("--steps", type=STEPS, default=100, show_default=True, help="Of the descent.")
@click.option("--batch-size", type=COUNT, default=8, show_default=True, help="Latents of a step.")
@click.option(
    "--learning-rate",
    type=POSITIVE,
    default=0.15,
    show_default=True,
    help="Of Adam, warmed up and decayed, in parts of the start's error.",
)
@click.option("--fine", "fine_steps", type=COUNT, default=60, show_default=True, help="Steps of the fine solution.")
@click.option(
    "--memory", type=COUNT, default=2048, show_default=True,
    help="MiB that the graphs of a step may take; what does not fit is computed again.",
)  # fmt: skip
@seed_option("Of the latents and of the order in which they are taken.")
@run_option(required=False)
@page_option("Write one self-contained HTML page, too: start and plan on the held-out latents, the fit, both tables.")
@out_option("plan.json", "The plan; as NETWORK/genie_plans/nfe-10.json it is what `sample` takes by default.")
def plan_command(
    chosen: Chosen, solver: str, nfe: int, grid: str | None, count: int, held_out: int, class_name: str | None,
    scale: float | None, scale_to: float | None, free: tuple[str, ...], history: int | None, steps: int,
    batch_size: int, learning_rate: float, fine_steps: int, memory: int, seed: int, run_folder: Path | None,
    page: Path | None, out: Path,
) -> None:  # fmt: skip
    """Fit times, labels and weights of a plan to a network's own fine solution; it runs with `sample --plan`."""
    check_device(chosen.device)
    check_target(out, suffix=".json", name="--out")
    if page is not None:
        pages.check_target(page, name="--page")
    number = None if class_name is None else chosen.class_number(class_name)
    served = _served(scale, scale_to)
    null = None if served is None else chosen.null()
    network = chosen.with_head(chosen.load())
    model: Model = network if null is None else guidance.classifier_free(network, null=null)
    found = calibrate_plan(
        model, chosen.schedule, nfe, shape=chosen.shape(1)[1:], start=solver, count=count, held_out=held_out, seed=seed,
        cond=chosen.cond(range(count + held_out), number), guidance=served, prediction=chosen.prediction, grid=grid,
        free=free, history=history, steps=steps, batch_size=batch_size, learning_rate=learning_rate,
        fine_steps=fine_steps, memory=memory * _MEBIBYTE, folder=run_folder,
        report=lambda line: click.echo(f"  {line}"),
    )  # fmt: skip
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, found.plan.to_json(indent=1) + "\n")
    click.echo(f"{out}: {nfe} evaluations, gamma {_gammas(found)}")
    click.echo(str(found))
    if page is not None:
        _write_page(page, found, model, f"{chosen.name}: a plan calibrated for {nfe} evaluations")
        click.echo(f"{page}: for a browser")


def _write_page(page: Path, found: CalibratedPlan, model: Model, title: str) -> None:
    held_out = found.held_out
    cells = []
    for name, plan in (("calibrated", found.plan), (f"start, {found.start_name}", found.start)):
        samples = held_out.run(model, plan)
        cells.append(Cell(name, plan.nfe, samples, rmse(samples, held_out.samples), held_out.samples))
    pages.calibration_page(
        page, Comparison(held_out.samples, cells), learned=found.plan, start=found.start, curve=found.checks,
        title=title, command=typed(),
    )  # fmt: skip


def _served(scale: float | None, scale_to: float | None) -> Any:
    if scale is None and scale_to is not None:
        raise ValueError(f"--guidance-to {scale_to:g}: the end of a range; give its beginning as --guidance")
    return scale if scale is None or scale_to is None else (scale, scale_to)


def _gammas(found: CalibratedPlan) -> str:
    recipe = found.plan.recipe
    times = () if recipe is None else recipe.grid
    return ", ".join(f"{gamma:.4g}" for gamma in found.plan.schedule.gamma(times))
