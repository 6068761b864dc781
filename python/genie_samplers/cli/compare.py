"""genie-samplers compare: solvers against evaluations."""

from __future__ import annotations

import csv
from pathlib import Path

import click
import numpy as np
import torch

from .. import demo, schedules
from ..uses.compare import Cell, compare
from . import images
from .options import IMAGE_SHAPE, check_run, device_option, grid_option, integers, out_option, seed_option, split

__all__ = ["compare_command"]

_COMPARED = ("ddim", "dpmpp", "unipc", "deis_tab", "deis_log_ab", "ipndm")


@click.command("compare")
@click.option("--solvers", default=",".join(_COMPARED), show_default=True, help="Comma-separated names.")
@click.option("--nfe", "nfes", default="5,8,10,15,20", show_default=True, help="Comma-separated evaluations.")
@grid_option
@seed_option
@device_option
@click.option("--count", default=20, show_default=True, help="Latents; the first 4 are shown in each cell.")
@click.option("--fine", default=200, show_default=True, help="Steps of the fine solution.")
@out_option("compare.png")
def compare_command(
    solvers: str, nfes: str, grid: str | None, seed: int, device: str, count: int, fine: int, out: Path
) -> None:
    """Solvers (rows) against evaluations (columns) from the same latents: PNG, and RMSE to a fine solution as CSV."""
    names, numbers = split("--solvers", solvers), integers("--nfe", nfes)
    check_run(count, device)
    table = out.with_suffix(".csv")
    images.check_target(out)
    images.check_target(table, suffix=".csv")
    result = compare(
        demo.embedded_with_head(device), schedules.vp_linear(), names, numbers, shape=(count, *IMAGE_SHAPE), seed=seed,
        cond={"class_labels": torch.arange(count) % 10}, grid=grid, fine_steps=fine, on_cell=_print_cell,
    )  # fmt: skip
    for (name, nfe), reason in result.skipped.items():
        click.echo(f"{name:12s} nfe {nfe:3d}  skipped: {reason}")
    fine_cell = _tile(result.fine)
    cells = [
        [*(None if (c := result.cell(name, nfe)) is None else _tile(c.samples) for nfe in numbers), fine_cell]
        for name in names
    ]
    page = images.labelled_table(cells, names, [*(f"{n} evaluations" for n in numbers), f"fine ({fine})"])
    images.save_png(page, out, {"seed": seed, "solvers": solvers, "nfe": nfes, "fine": fine})
    with open(table, "w", newline="") as file:
        csv.writer(file).writerows(
            [("solver", "nfe", "rmse"), *((c.solver, c.nfe, f"{c.rmse:.6f}") for c in result.cells)]
        )
    click.echo(f"{out} and {table}: RMSE to {fine} steps over {count} latents")


def _tile(samples: torch.Tensor) -> np.ndarray:
    return images.grid(images.to_pixels(samples[:4].cpu().numpy()), columns=2)


def _print_cell(cell: Cell) -> None:
    click.echo(f"{cell.solver:12s} nfe {cell.nfe:3d}  rmse {cell.rmse:.4f}")
