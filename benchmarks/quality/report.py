"""The results as files: every cell in a CSV, the best grid of each solver in a Markdown table, a picture."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, fields
from pathlib import Path

from genie_samplers.plotting import plain_ticks

from .cells import Cell
from .frechet import Distance

__all__ = ["best_grids", "markdown", "plot", "summary", "write_cells"]

Method = tuple[str, str]  # library, solver

CURVES: tuple[Method, ...] = (
    *(
        ("genie-ext", name)
        for name in ("ddim", "deis_rho_midpoint", "dpmpp", "unipc", "deis_tab", "deis_log_ab", "ipndm")
    ),
    *(("diffusers", name) for name in ("DDIM", "PNDM (PLMS)", "DPM++ 2M", "UniPC 2", "DEIS 3")),
)
"""What the picture shows of what was measured; a dozen lines can be told apart."""


def write_cells(path: Path, cells: Iterable[Cell]) -> None:
    with open(path, "w", newline="") as file:
        rows = [(*astuple(cell)[:-1], f"{cell.rmse:.6f}") for cell in cells]
        csv.writer(file).writerows([[entry.name for entry in fields(Cell)], *rows])


def best_grids(cells: Iterable[Cell]) -> dict[Method, dict[int, Cell]]:
    """The cell of least error over the grids, by method and number of evaluations."""
    best: dict[Method, dict[int, Cell]] = {}
    for cell in cells:
        row = best.setdefault((cell.library, cell.solver), {})
        if cell.nfe not in row or cell.rmse < row[cell.nfe].rmse:
            row[cell.nfe] = cell
    return best


def summary(
    cells: Sequence[Cell], distances: Sequence[Distance], left_out: Mapping[str, str], *, command: str, count: int
) -> str:
    """Markdown: RMSE on the best grid, with that grid; Frechet distances; what could not be run, and why."""
    parts = [f"`{command}`: RMSE to the fine solution, {count} latents, on the best grid of each.", _errors(cells)]
    if distances:
        parts += ["Frechet distance of the classifier's features to the training images.", _distances(distances)]
    if left_out:
        parts += ["Not in the table:", "\n".join(f"* {name}: {reason}" for name, reason in left_out.items())]
    return "\n\n".join(parts) + "\n"


def _errors(cells: Sequence[Cell]) -> str:
    best = best_grids(cells)
    nfes = sorted({cell.nfe for cell in cells})
    lines = [[library, f"`{solver}`", *(_error(row.get(n)) for n in nfes)] for (library, solver), row in best.items()]
    return markdown(["library", "solver", *map(str, nfes)], lines)


def _error(cell: Cell | None) -> str:
    return "-" if cell is None else f"{cell.rmse:.4f} {cell.grid}"


def _distances(distances: Sequence[Distance]) -> str:
    rows: dict[tuple[str, str], dict[int | str, float]] = {}
    for d in distances:
        rows.setdefault((d.samples, d.grid), {})[d.nfe] = d.distance
    nfes = sorted({d.nfe for d in distances if isinstance(d.nfe, int)})
    lines = [
        [name, grid, *(f"{row[n]:.3f}" if n in row else "-" for n in ("", *nfes))] for (name, grid), row in rows.items()
    ]
    return markdown(["samples", "grid", "real", *map(str, nfes)], lines)


def markdown(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [header, ["---"] * len(header), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def plot(path: Path, cells: Sequence[Cell], curves: Sequence[Method] = CURVES) -> None:
    """Error against evaluations, both logarithmic; diffusers dashed. Curves that were not measured are left out."""
    from matplotlib.figure import Figure

    best = best_grids(cells)
    figure = Figure(figsize=(7.5, 5), layout="constrained")
    axes = figure.subplots()
    for number, (library, solver) in enumerate(curve for curve in curves if curve in best):
        row = sorted(best[library, solver].items())
        label = solver if library == "genie-ext" else f"diffusers {solver}"
        style = "-" if library == "genie-ext" else "--"
        axes.plot(
            [n for n, _ in row], [cell.rmse for _, cell in row], style,
            color=f"C{number % 10}", marker="osv^DPX"[number % 7], markersize=4, linewidth=1.3, label=label,
        )  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel="network evaluations", ylabel="RMSE to the fine solution, best grid")
    plain_ticks(axes)
    nfes = sorted({cell.nfe for cell in cells})
    axes.set_xticks(nfes, map(str, nfes))
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.savefig(path, dpi=110)
