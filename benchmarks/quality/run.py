"""python -m benchmarks.quality.run [--out docs/images] [--count 20] [--frechet] [--solvers ...] [--nfe ...]

RMSE of every deterministic solver on every grid, and of the schedulers of diffusers, to a fine solution from the same
latents of the embedded network: quality.csv, quality.md and work_precision.png. With --frechet also frechet.csv, of
the sample sets that `python -m benchmarks.quality.sample` completed. Every cell is kept in the cache: a run that was
stopped goes on where it was. It runs on one thread.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch

from genie_samplers.demo.classifier import fashion_classifier
from genie_samplers.demo.data import fashion_mnist

from .cells import GRIDS, NFES, Cell, Table, deterministic_solvers
from .frechet import Distance, FrechetDistance, PixelFeatures, distances, floor, mirrored, write_distances
from .options import add_cache, integers, names
from .problem import Problem, embedded_problem
from .report import plot, summary, write_cells
from .sample import SOLVERS, sample_sets

__all__ = ["main", "measure"]

_OUT = Path(__file__).parents[2] / "docs" / "images"


def measure(problem: Problem, options: argparse.Namespace, command: str) -> list[Cell]:
    """Run what ``options`` name and write the files."""
    options.out.mkdir(parents=True, exist_ok=True)
    table = Table(problem, options.cache, options.count, options.fine)
    cells = list(_reported(table.ours(options.solvers, options.grids, options.nfe)))
    if options.diffusers:
        cells += _reported(table.diffusers(options.nfe))
    write_cells(options.out / "quality.csv", cells)
    found = _frechet(problem, options) if options.frechet else []
    text = summary(cells, found, table.left_out, command=command, count=options.count)
    (options.out / "quality.md").write_text(text)
    plot(options.out / "work_precision.png", cells)
    return cells


def _frechet(problem: Problem, options: argparse.Namespace) -> list[Distance]:
    train, test = fashion_mnist("train"), fashion_mnist("test")
    features = PixelFeatures(fashion_classifier())
    reference = FrechetDistance(features, mirrored(train))
    sets = sample_sets(problem, options.frechet_solvers, options.nfe, fine=options.frechet_fine, cache=options.cache)
    found = floor(features, reference, train, test)
    found += distances(reference, list(sets), options.frechet_count)
    write_distances(options.out / "frechet.csv", found)
    return found


def _reported(cells: Iterable[Cell]) -> Iterator[Cell]:
    for cell in cells:
        print(f"{cell.library:9s} {cell.solver:16s} {cell.grid:20s} nfe {cell.nfe:3d}  {cell.rmse:.5f}", flush=True)
        yield cell


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality.run", description=__doc__)
    parser.add_argument("--out", type=Path, default=_OUT, help="folder of the results")
    add_cache(parser)
    parser.add_argument("--count", type=int, default=20, help="latents of the RMSE")
    parser.add_argument("--seed", type=int, default=0, help="theirs")
    parser.add_argument("--fine", type=int, default=200, help="steps of the fine solution")
    parser.add_argument("--solvers", type=names, default=deterministic_solvers())
    parser.add_argument("--grids", type=names, default=list(GRIDS))
    parser.add_argument("--nfe", type=integers, default=list(NFES))
    parser.add_argument("--diffusers", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--frechet", action="store_true", help="also the Frechet distances")
    parser.add_argument("--frechet-solvers", type=names, default=list(SOLVERS))
    parser.add_argument("--frechet-count", type=int, default=10_000, help="samples of each set")
    parser.add_argument("--frechet-fine", type=int, default=40, help="steps of the fine solution's set")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_args(given)
    torch.set_num_threads(1)
    measure(embedded_problem(options.seed), options, shlex.join(["python", "-m", "benchmarks.quality.run", *given]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
