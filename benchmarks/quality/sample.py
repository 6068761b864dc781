"""python -m benchmarks.quality.sample [--solvers ...] [--nfe ...] [--fine STEPS] [--count 10000]

Thousands of samples per (solver, NFE) for the Frechet distance, as uint8 files of 400 in the cache. Stop it at any
time: the same command goes on with the first missing file. It runs on one thread.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from genie_samplers.cli.images import to_pixels
from genie_samplers.plan import Plan
from genie_samplers.solvers.make import make_plan
from genie_samplers.solvers.registry import UnreachableNFE

from .options import add_cache, integers, names
from .problem import Problem, embedded_problem
from .store import cached

__all__ = ["SOLVERS", "SampleSet", "main", "sample_sets"]

_CHUNK = 400
SOLVERS = ("ddim", "dpmpp", "unipc", "deis_tab", "deis_log_ab", "ipndm")
OWN_GRID = "own"


@dataclass(frozen=True)
class SampleSet:
    """Samples 0, 1, ... of one plan as pixels, in files of 400."""

    problem: Problem
    solver: str
    grid: str
    plan: Plan
    cache: Path

    @property
    def folder(self) -> Path:
        name = f"{self.solver}-{self.grid}-{self.plan.nfe}-{self.problem.key(self.plan)}"
        return self.cache / "samples" / name

    def record_plan(self) -> None:
        """Write the plan beside its samples, for whoever finds the folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "plan.json").write_text(self.plan.to_json(indent=1))

    def chunk(self, index: int) -> NDArray[np.uint8]:
        """Samples 400 index, ..., 400 index + 399, uint8 [400, 28, 28, 1]; from their file where there is one."""
        ids = range(_CHUNK * index, _CHUNK * (index + 1))
        path = self.folder / f"{index:04d}.npy"
        return cached(path, lambda: to_pixels(self.problem.solve(self.plan, ids))).astype(np.uint8, copy=False)

    def missing(self, count: int) -> list[int]:
        """The chunks of the first ``count`` samples that have no file."""
        chunks = range(-(-count // _CHUNK))
        return [index for index in chunks if not (self.folder / f"{index:04d}.npy").exists()]

    def pixels(self, count: int) -> NDArray[np.uint8]:
        """The first ``count`` samples, uint8 [count, 28, 28, 1]."""
        return np.concatenate([self.chunk(index) for index in range(-(-count // _CHUNK))])[:count]


def sample_sets(
    problem: Problem, solvers: Sequence[str], nfes: Sequence[int], *, grid: str = OWN_GRID, fine: int, cache: Path
) -> Iterator[SampleSet]:
    """One set per reachable (solver, NFE), cheap NFE first, then the fine solution (``fine`` = 0: none).

    grid: a name, or "own" for each solver's default.
    """
    for nfe, solver in itertools.product(nfes, solvers):
        try:
            plan = make_plan(solver, problem.schedule, nfe, grid=None if grid == OWN_GRID else grid)
        except UnreachableNFE:
            continue
        yield SampleSet(problem, solver, grid, plan, cache)
    if fine:
        yield SampleSet(problem, "fine", "karras", problem.fine_plan(fine), cache)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality.sample", description=__doc__)
    parser.add_argument("--solvers", type=names, default=list(SOLVERS), help="comma-separated names")
    parser.add_argument("--nfe", type=integers, default=[5, 10], help="comma-separated evaluations")
    parser.add_argument("--grid", default=OWN_GRID, help="a grid's name; each solver's default unless given")
    parser.add_argument("--fine", type=int, default=0, metavar="STEPS", help="the fine solution too")
    parser.add_argument("--count", type=int, default=10_000)
    add_cache(parser)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    chosen = sample_sets(
        embedded_problem(), options.solvers, options.nfe, grid=options.grid, fine=options.fine, cache=options.cache
    )
    for samples in chosen:
        _complete(samples, options.count)
    return 0


def _complete(samples: SampleSet, count: int) -> None:
    """Run what is missing, saying how long it will take."""
    samples.record_plan()
    missing = samples.missing(count)
    started = time.perf_counter()
    for done, index in enumerate(missing, start=1):
        samples.chunk(index)
        left = (time.perf_counter() - started) / done * (len(missing) - done)
        print(f"{samples.solver} {samples.plan.nfe}: file {index}, {left / 60:.1f} min left", flush=True)
    print(f"{samples.solver} {samples.plan.nfe}: complete, {samples.folder}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
