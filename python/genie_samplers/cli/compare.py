"""genie-samplers compare: solvers against evaluations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
import torch
from torch import Tensor

from .. import pages
from ..files import check_target, write_rows
from ..uses.compare import Cell, Comparison, compare
from . import images
from .network import Chosen, network_options
from .options import (
    check_device,
    clip_option,
    count_option,
    fine_option,
    grid_option,
    nfes_option,
    out_option,
    page_option,
    seed_option,
    solvers_option,
)
from .typed import typed

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["compare_command"]

_COMPARED = ("auto", "ddim", "dpmpp", "unipc", "deis_tab", "deis_log_ab", "ipndm")
_SHOWN = 4


@click.command("compare")
@network_options
@solvers_option("--solvers", ",".join(_COMPARED), "The rows of the page.")
@nfes_option("5,8,10,15,20", "Network evaluations, separated by commas: the columns of the page.")
@grid_option
@clip_option
@seed_option("Of the latents that every cell starts from.")
@count_option(20, f"Latents; the first {_SHOWN} are shown in each cell.")
@fine_option
@out_option("compare.png", "The page; the errors go into a .csv of the same name.")
@page_option(
    "Write one self-contained HTML page, too: a slider over the evaluations, differences, the curve of errors."
)
def compare_command(
    chosen: Chosen, solvers: tuple[str, ...], nfes: tuple[int, ...], grid: str | None, clip: float | None, seed: int,
    count: int, fine: int, out: Path, page: Path | None,
) -> None:  # fmt: skip
    """Solvers (rows) against evaluations (columns) from the same latents: PNG, and RMSE to a fine solution as CSV."""
    check_device(chosen.device)
    table = out.with_suffix(".csv")
    images.check_target(out)
    check_target(table, suffix=".csv", name="--out")
    if page is not None:
        pages.check_target(page, name="--page")
    shape = chosen.picture_shape(count)
    network = chosen.with_head(chosen.load())
    result = compare(
        network, chosen.schedule, solvers, nfes, shape=shape, seed=seed, cond=chosen.cond(range(count)), grid=grid,
        clip=clip, fine_steps=fine, on_cell=_print_cell,
    )  # fmt: skip
    for (name, nfe), reason in result.skipped.items():
        click.echo(f"{name:12s} nfe {nfe:3d}  skipped: {reason}")
    told = {"seed": seed, "solvers": ",".join(solvers), "nfe": ",".join(map(str, nfes)), "fine": fine, "clip": clip}
    images.save_png(_page(result, solvers, nfes, fine), out, told)
    write_rows(table, [("solver", "nfe", "rmse"), *((c.solver, c.nfe, f"{c.rmse:.6f}") for c in result.cells)])
    click.echo(f"{out} and {table}: RMSE to {fine} steps over {count} latents")
    if page is not None:
        pages.comparison_page(page, result, title=f"{chosen.name}: solvers over evaluations", command=typed())
        click.echo(f"{page}: the same with a slider, for a browser")


def _page(result: Comparison, solvers: Sequence[str], nfes: Sequence[int], fine: int) -> Image:
    """Of each solver a row of samples with their errors, and a row of how far they are from the fine solution."""
    factors = [pages.amplification([_difference(cell) for cell in result.cells if cell.nfe == nfe]) for nfe in nfes]
    rows: list[list[images.Pixels | None]] = []
    captions: dict[tuple[int, int], str] = {}
    labels: list[str] = []
    for name in solvers:
        cells = [result.cell(name, nfe) for nfe in nfes]
        for n, cell in enumerate(cells):
            if cell is not None:
                captions |= {(len(rows), n): f"RMSE {cell.rmse:.4f}", (len(rows) + 1, n): f"x {factors[n]}"}
        rows.append([*(None if cell is None else _tile(cell.samples) for cell in cells), _tile(result.fine)])
        pairs = zip(cells, factors, strict=True)
        rows.append([*(None if cell is None else _amplified(cell, factor) for cell, factor in pairs), None])
        labels += [name, "difference"]
    columns = [*(f"{n} evaluations" for n in nfes), f"fine ({fine})"]
    return images.labelled_table(rows, labels, columns, captions=captions, zoom=images.zoom_of(result.fine.shape[2]))


def _difference(cell: Cell) -> np.ndarray:
    """|samples - fine| of what is shown, [b, C, H, W]."""
    return (cell.samples[:_SHOWN] - cell.fine[:_SHOWN]).abs().cpu().numpy()


def _amplified(cell: Cell, factor: int) -> images.Pixels:
    """Black where they agree, white where ``factor`` times the difference is that of black and white."""
    return _tile(torch.from_numpy(factor * _difference(cell) - 1.0))


def _tile(samples: Tensor) -> images.Pixels:
    return images.grid(images.to_pixels(samples[:_SHOWN].cpu().numpy()), columns=2)


def _print_cell(cell: Cell) -> None:
    click.echo(f"{cell.solver:12s} nfe {cell.nfe:3d}  rmse {cell.rmse:.4f}")
