"""python -m benchmarks.quality.genie [--out docs/images] [--count 20] [--seed 2] [--choose-seed 0]

GENIE with exact derivatives and distilled corrections beside the solvers without, on the embedded network: RMSE to a
fine solution from held-out latents (--seed), every solver on the standard grid that was best on others (--choose-seed),
per number of evaluations and per cost in forward passes, which is measured in the same run: genie.csv, genie.md,
genie.png. Cells are kept in the cache: a run that was stopped goes on where it was. It runs on one thread.
"""

from __future__ import annotations

import argparse
import csv
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike

from genie_samplers import demo, genie, schedules
from genie_samplers.plotting import plain_ticks
from genie_samplers.solvers.make import make_plan

from ..case import Competitor, Settings
from ..timing import interleave
from .cells import GRIDS, Cell, Table
from .options import add_cache, integers
from .problem import embedded_problem
from .report import best_grids, markdown

__all__ = ["main"]

NFES = (5, 8, 10, 15, 20)
PLAIN = ("ddim", "deis_tab3", "ipndm4", "dpmpp_2m", "unipc2", "deis_log_ab", "ipndm", "unipc")
WITH_DERIVATIVE: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "genie_ttm2, exact": ("genie_ttm2", {"derivative": "exact"}),
    "genie_hermite3, exact": ("genie_hermite3", {"derivative": "exact"}),
    "genie_ttm2, head": ("genie_ttm2", {"derivative": "correction"}),
    "genie_hermite3, head": ("genie_hermite3", {"derivative": "correction"}),
    "genie_hermite of 3 values, head": ("genie_hermite", {"values": 3, "derivative": "correction"}),
}
"""What the table calls it -> registered solver and its options."""
DERIVATIVES = ("exact", "correction")
_OUT = Path(__file__).parents[2] / "docs" / "images"
_BATCH = 16


@dataclass(frozen=True)
class Line:
    """rmse: on the held-out latents, on the grid that was best on the others. forwards: cost in forward passes."""

    library: str
    solver: str
    nfe: int
    forwards: float
    grid: str
    rmse: float


def cells(options: argparse.Namespace, seed: int) -> Iterator[Cell]:
    """Every cell from the latents of ``seed``."""

    def table(derivative: str | None) -> Table:
        return Table(embedded_problem(seed, derivative), options.cache, options.count, options.fine)

    yield from table(None).ours(PLAIN, GRIDS, options.nfe)
    for name, (solver, chosen) in WITH_DERIVATIVE.items():
        yield from table(str(chosen["derivative"])).ours([solver], GRIDS, options.nfe, chosen, name)
    yield from table(None).diffusers(options.nfe)


def costs(rounds: int) -> dict[str, float]:
    """What the derivative costs on top of the evaluation, in forward passes, by its kind: ratio of medians."""
    plain, x = demo.embedded(), torch.randn(_BATCH, 1, 28, 28)
    exact, corrected = genie.exact(plain), demo.embedded_with_head(network=plain)
    plan = make_plan("genie_hermite", plain.schedule, 5, options={"values": 3})
    last = np.array(plan.times[-1:])

    def labels(one: ArrayLike) -> torch.Tensor:
        return torch.from_numpy(np.repeat(np.asarray(one, dtype=np.float64), _BATCH, axis=0)).float()

    runs = {
        "plain": partial(plain, x, labels(plain.label(last))),
        "exact": partial(exact, x, labels(exact.label_of(plain.schedule)(last))),
        "correction": partial(corrected, x, labels(np.asarray(corrected.labels(plan))[-1:]), history=[x, x]),
    }
    settings = Settings(rounds=rounds, block_seconds=0.0, case_seconds=float("inf"))
    with torch.no_grad():
        times = interleave([Competitor(name, run) for name, run in runs.items()], settings)
    return {name: times[name].median / times["plain"].median - 1.0 for name in DERIVATIVES}


def forwards(solver: str, nfe: int, grid: str, price: dict[str, float]) -> float:
    """The cost of a cell: its evaluations, and what the rows that read a derivative pay more."""
    if solver not in WITH_DERIVATIVE:
        return float(nfe)
    name, chosen = WITH_DERIVATIVE[solver]
    plan = make_plan(name, schedules.vp_linear(), nfe, grid=grid, options=chosen)
    return nfe + price[str(chosen["derivative"])] * sum(row.outputs > 1 for row in plan.rows)


def lines(options: argparse.Namespace, price: dict[str, float]) -> list[Line]:
    best = best_grids(cells(options, options.choose_seed))
    held_out = {(c.library, c.solver, c.nfe, c.grid): c for c in cells(options, options.seed)}
    found = []
    for (library, solver), row in best.items():
        for nfe, chosen in sorted(row.items()):
            cell = held_out[library, solver, nfe, chosen.grid]
            cost = forwards(solver, nfe, cell.grid, price) if library == "genie-ext" else float(nfe)
            found.append(Line(library, solver, nfe, cost, cell.grid, cell.rmse))
    return found


def summary(found: Sequence[Line], price: dict[str, float], command: str, options: argparse.Namespace) -> str:
    rows: dict[tuple[str, str], dict[int, Line]] = {}
    for line in found:
        rows.setdefault((line.library, line.solver), {})[line.nfe] = line
    body = [
        [library, solver, *(_entry(row.get(nfe)) for nfe in options.nfe)] for (library, solver), row in rows.items()
    ]
    head = (
        f"`{command}`: RMSE to the fine solution, {options.count} latents of seed {options.seed}, on the grid that was "
        f"best on as many of seed {options.choose_seed}; in brackets the cost in forward passes where it is not the "
        f"number of evaluations. Beside an evaluation the exact derivative costs {price['exact']:.2f} forward passes, "
        f"the head {price['correction']:.3f}, batch {_BATCH}, one thread."
    )
    return head + "\n\n" + markdown(["library", "solver", *map(str, options.nfe)], body) + "\n"


def _entry(line: Line | None) -> str:
    if line is None:
        return "-"
    cost = "" if line.forwards == line.nfe else f" ({line.forwards:.1f})"
    return f"{line.rmse:.4f}{cost} {line.grid}"


def plot(path: Path, found: Sequence[Line]) -> None:
    """Two pictures: error against evaluations, and against cost."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    shown = [key for key in dict.fromkeys((line.library, line.solver) for line in found) if key[0] == "genie-ext"]
    for axes, cost in zip(panels, ("nfe", "forwards"), strict=True):
        for number, key in enumerate(shown):
            curve = [(getattr(x, cost), x.rmse) for x in found if (x.library, x.solver) == key]
            style = "-" if key[1].startswith("genie") else "--"
            axes.plot(*zip(*curve, strict=True), style, color=f"C{number % 10}", marker="o", markersize=3, label=key[1])
        others: dict[int, float] = {}
        for line in found:
            if line.library == "diffusers":
                others[line.nfe] = min(line.rmse, others.get(line.nfe, line.rmse))
        axes.plot(list(others), list(others.values()), "k:", label="best of diffusers")
        axes.set(xscale="log", yscale="log")
        axes.grid(alpha=0.3, which="both")
        plain_ticks(axes)
    panels[0].set(xlabel="network evaluations", ylabel="RMSE to the fine solution, held-out latents")
    panels[1].set(xlabel="cost in forward passes")
    panels[1].legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.savefig(path, dpi=100)


def write(path: Path, found: Sequence[Line]) -> None:
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([entry.name for entry in fields(Line)])
        writer.writerows((*astuple(x)[:3], f"{x.forwards:.2f}", x.grid, f"{x.rmse:.6f}") for x in found)


def main(arguments: Sequence[str] | None = None) -> int:
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality.genie", description=__doc__)
    parser.add_argument("--out", type=Path, default=_OUT, help="folder of the results")
    add_cache(parser)
    parser.add_argument("--count", type=int, default=20, help="latents")
    parser.add_argument("--seed", type=int, default=2, help="of the latents that are held out")
    parser.add_argument("--choose-seed", type=int, default=0, help="of those that choose the grids")
    parser.add_argument("--fine", type=int, default=200, help="steps of the fine solution")
    parser.add_argument("--nfe", type=integers, default=list(NFES))
    parser.add_argument("--rounds", type=int, default=9, help="of the measured cost")
    options = parser.parse_args(given)
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    price = costs(options.rounds)
    found = lines(options, price)
    write(options.out / "genie.csv", found)
    command = shlex.join(["python", "-m", "benchmarks.quality.genie", *given])
    text = summary(found, price, command, options)
    (options.out / "genie.md").write_text(text)
    plot(options.out / "genie.png", found)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
