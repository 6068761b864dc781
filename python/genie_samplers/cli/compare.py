"""genie-samplers compare: solvers against evaluations."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import torch

from ..files import check_target, write_rows
from ..uses.compare import Cell, compare
from . import images
from .network import Chosen, network_options
from .options import check_device, count_option, fine_option, grid_option, integers, out_option, seed_option, split

__all__ = ["compare_command"]

_COMPARED = ("ddim", "dpmpp", "unipc", "deis_tab", "deis_log_ab", "ipndm")


@click.command("compare")
@network_options
@click.option("--solvers", default=",".join(_COMPARED), show_default=True, help="Comma-separated names.")
@click.option("--nfe", "nfes", default="5,8,10,15,20", show_default=True, help="Comma-separated evaluations.")
@grid_option
@seed_option
@count_option(20, "Latents; the first 4 are shown in each cell.")
@fine_option
@out_option("compare.png")
def compare_command(
    chosen: Chosen, solvers: str, nfes: str, grid: str | None, seed: int, count: int, fine: int, out: Path
) -> None:
    """Solvers (rows) against evaluations (columns) from the same latents: PNG, and RMSE to a fine solution as CSV."""
    names, numbers = split("--solvers", solvers), integers("--nfe", nfes)
    check_device(chosen.device)
    table = out.with_suffix(".csv")
    images.check_target(out)
    check_target(table, suffix=".csv")
    network = chosen.load()
    result = compare(
        network.with_head(), chosen.schedule, names, numbers, shape=network.picture_shape(count), seed=seed,
        cond=network.cond(count), grid=grid, fine_steps=fine, on_cell=_print_cell,
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
    write_rows(table, [("solver", "nfe", "rmse"), *((c.solver, c.nfe, f"{c.rmse:.6f}") for c in result.cells)])
    click.echo(f"{out} and {table}: RMSE to {fine} steps over {count} latents")


def _tile(samples: torch.Tensor) -> np.ndarray:
    return images.grid(images.to_pixels(samples[:4].cpu().numpy()), columns=2)


def _print_cell(cell: Cell) -> None:
    click.echo(f"{cell.solver:12s} nfe {cell.nfe:3d}  rmse {cell.rmse:.4f}")
