"""How good a head is: the error of its derivative by gamma, and of what solvers make of it by evaluations."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from genie_ext import jvp_distill_loss

from ...files import replacing
from ...plotting import plain_ticks
from ...uses.compare import Comparison, compare
from ..heads.files import Head
from ..heads.headed import HeadedModel
from .distill import DistillOptions
from .targets import Source, Targets

__all__ = ["EDGES", "Band", "HeadReport", "card", "derivative_errors", "report"]

EDGES = (0.0, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, np.inf)
SOLVERS = ("ddim", "deis_log_ab", "ipndm", "genie_ttm2", "genie_hermite3", "genie_hermite")
NFES = (5, 8, 10, 15, 20)


@dataclass(frozen=True)
class Band:
    """gamma in [low, high): rms of the target and of the head's error, per pixel, weighted as in the loss."""

    low: float
    high: float
    samples: int
    target: float
    error: float

    @property
    def relative(self) -> float:
        return self.error / self.target if self.target > 0.0 else math.inf


@dataclass(frozen=True)
class HeadReport:
    bands: Sequence[Band]
    comparison: Comparison

    def save(self, path: Path) -> None:
        """``path`` as PNG, and the numbers as CSV in a file of the same name."""
        with replacing(path.with_suffix(".csv")) as partial, open(partial, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("kind", "solver", "nfe", "gamma_low", "gamma_high", "samples", "target_rms", "error"))
            writer.writerows(
                ("head", "", "", b.low, b.high, b.samples, f"{b.target:.6f}", f"{b.error:.6f}") for b in self.bands
            )
            writer.writerows(
                ("rmse", c.solver, c.nfe, "", "", len(c.samples), "", f"{c.rmse:.6f}") for c in self.comparison.cells
            )
        self._plot(path)

    def __str__(self) -> str:
        cells = self.comparison.cells
        nfes = sorted({c.nfe for c in cells})
        lines = ["| gamma | samples | rms | relative error |", "|---|---|---|---|"]
        lines += [f"| {b.low:g} to {b.high:g} | {b.samples} | {b.target:.3f} | {b.relative:.3f} |" for b in self.bands]
        lines += ["", f"| evaluations | {' | '.join(map(str, nfes))} |", f"|---{'|---' * len(nfes)}|"]
        for solver in dict.fromkeys(c.solver for c in cells):
            found = (self.comparison.cell(solver, nfe) for nfe in nfes)
            lines.append(f"| {solver} | {' | '.join('' if c is None else f'{c.rmse:.4f}' for c in found)} |")
        return "\n".join(lines)

    def _plot(self, path: Path) -> None:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(9, 3.5), layout="constrained")
        left, right = figure.subplots(1, 2)
        middle = [np.sqrt(max(b.low, 0.01) * min(b.high, 150.0)) for b in self.bands]
        left.plot(middle, [b.relative for b in self.bands], "o-")
        left.axhline(1.0, color="grey", linewidth=0.8)
        left.set(xscale="log", xlabel="gamma", ylabel="error of what the head predicts / its rms", ylim=(0.0, None))
        cells = self.comparison.cells
        for solver in dict.fromkeys(c.solver for c in cells):
            right.plot(*zip(*((c.nfe, c.rmse) for c in cells if c.solver == solver), strict=True), "o-", label=solver)
        right.set(yscale="log", xlabel="evaluations", ylabel="RMSE to the fine solution")
        right.legend()
        plain_ticks(left)
        plain_ticks(right)
        with replacing(path) as partial:
            figure.savefig(partial, dpi=100)


@torch.no_grad()
def derivative_errors(head: Head, chunks: Iterable[Targets], edges: Sequence[float] = EDGES) -> list[Band]:
    """The bands between ``edges`` that hold samples."""
    gammas, squares = [], []
    for at in chunks:
        error = jvp_distill_loss(
            head(*at.inputs), at.target.contiguous(), at.gamma, weighting=torch.ones_like(at.gamma), reduction="none"
        )
        weight = torch.ones_like(at.gamma) if at.weight is None else at.weight
        columns = (weight, weight * at.target.square().flatten(1).mean(1), weight * error / at.target[0].numel())
        gammas.append(at.gamma)
        squares.append(torch.stack(columns, dim=1))
    gamma, square = torch.cat(gammas), torch.cat(squares).double()
    found = []
    for low, high in pairwise(edges):
        inside = square[(gamma >= low) & (gamma < high)]
        if len(inside):
            weight, *means = inside.mean(0)
            target, error = (float((mean / weight).sqrt()) for mean in means)
            found.append(Band(low, high, len(inside), target, error))
    return found


def report(
    model: HeadedModel,
    held_out: Source,
    *,
    shape: Sequence[int],
    chunks: int = 4,
    seed: int = 3,
    cond: Mapping[str, object] | None = None,
    solvers: Sequence[str] = SOLVERS,
    nfes: Sequence[int] = NFES,
    grid: str | None = None,
) -> HeadReport:
    """Errors of the head on the source's first chunks, of solvers on held-out latents, ``shape`` = [B, ...].

    The genie solvers among ``solvers`` take the head as what it predicts.
    """
    bands = derivative_errors(model.head, (held_out.chunk(number, model.head) for number in range(chunks)))
    options = {name: {"derivative": model.head.config.derivative} for name in solvers if name.startswith("genie_")}
    compared = compare(
        model, model.model.schedule, solvers, nfes, shape=shape, seed=seed, cond=cond, grid=grid, options=options
    )
    return HeadReport(bands, compared)


def card(head: Head, options: DistillOptions, found: HeadReport) -> str:
    """Markdown: what the head is, how it was made and how good it is on held-out data."""
    pointwise = options.target == "pointwise"
    derivative = head.config.derivative
    target = "gamma d epsilon/d gamma" if pointwise else "the defect of steps of genie_hermite"
    unused = (
        {"values", "nfes", "grids", "trajectories", "pool_steps", "forced_steps"}
        if pointwise
        else {"gamma_max", "weighting"}
    )
    used = {name: value for name, value in asdict(options).items() if name not in unused}
    parameters = sum(p.numel() for p in head.parameters())
    lines = [
        "# A GENIE head",
        "",
        f"Predicts {target}, from the last feature map of the network that",
        "it was distilled from: `genie_samplers.genie.with_head(model, folder)`, for plans with",
        f'derivative="{derivative}" such as '
        "those of `genie_ttm2` and `genie_hermite3`. Dockhorn, Vahdat and Kreis, arXiv 2210.05475.",
        "",
        "| | |",
        "|---|---|",
        f"| parameters | {parameters:,}, stored as float16 |",
        *(f"| {name} | {value} |" for name, value in used.items() if value not in ("", None)),
        "",
        f"Error of {target} on held-out data, relative to its rms; RMSE of solvers to the fine solution from held-out",
        "latents:",
        "",
        str(found),
        "",
    ]
    return "\n".join(lines)
