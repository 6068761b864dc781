"""genie-samplers calibrate temperature: one factor for the noise of a plan."""

from __future__ import annotations

from pathlib import Path

import click
import torch

from ..calibrate.temperature import temperature
from ..files import check_target, write_text
from ..solvers.make import make_plan
from .network import Chosen, network_options
from .options import (
    batch_size_option,
    check_device,
    clip_option,
    count_option,
    denoise_option,
    grid_option,
    nfe_option,
    out_option,
    seed_option,
    solver_option,
)
from .source import Source, source_options

__all__ = ["temperature_command"]


@click.command("temperature")
@network_options
@source_options
@solver_option("ddpm", "A stochastic one; a name of `plan --list`.")
@nfe_option
@grid_option
@denoise_option
@clip_option
@count_option(100, "Samples at every temperature, of the same noise; more tell finer differences.")
@seed_option("Of that noise.")
@batch_size_option
@out_option("plan.json", "The plan at the best temperature, for `sample --plan`.")
def temperature_command(
    chosen: Chosen, source: Source, solver: str, nfe: int, grid: str | None, denoise: bool | None, clip: float | None,
    count: int, seed: int, batch_size: int, out: Path,
) -> None:  # fmt: skip
    """Sample at several noise temperatures and keep the one whose power spectrum is nearest to that of pictures."""
    check_device(chosen.device)
    check_target(out, suffix=".json", name="--out")
    plan = make_plan(solver, chosen.schedule, nfe, grid=grid, prediction=chosen.prediction, denoise=denoise, clip=clip)
    if not plan.stochastic:
        raise ValueError(f"--solver {solver}: draws no noise; choose a stochastic one, such as ddpm")
    pictures = source.load(chosen, "train")
    labels = None if pictures.labels is None else torch.from_numpy(pictures.labels)
    found = temperature(
        chosen.load(), plan, torch.from_numpy(pictures.images), labels=labels, count=count, seed=seed,
        cond=chosen.cond(range(count)), batch_size=batch_size, report=lambda line: click.echo(f"  {line}"),
    )  # fmt: skip
    write_text(out, found.plan.to_json(indent=1) + "\n")
    click.echo(f"{out}: {solver}, {plan.nfe} evaluations, temperature {found.temperature:g}")
