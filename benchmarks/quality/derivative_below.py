"""python -m benchmarks.quality.derivative_below [--grid karras] [--nfe 5,8,10,15,20]

From which gamma on the derivative helps, and in which variable: RMSE of genie_ttm2 and genie_hermite3 to a fine
solution on the embedded network, 20 latents (seed 0). Prints a Markdown table; final states are kept in the cache.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import torch

from .cells import GRIDS, Table
from .options import add_cache, integers
from .problem import embedded_problem
from .report import markdown

__all__ = ["main"]

THRESHOLDS = (3.0, 10.0, 30.0, None)
METHODS = (
    ("genie_ttm2", {"variable": "gamma"}),
    ("genie_hermite3", {"variable": "gamma"}),
    ("genie_hermite3", {"variable": "t"}),
    ("genie_hermite3", {"variable": "log_gamma"}),
)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality.derivative_below", description=__doc__)
    add_cache(parser)
    parser.add_argument("--grid", choices=GRIDS, default="karras")
    parser.add_argument("--nfe", type=integers, default=[5, 8, 10, 15, 20])
    parser.add_argument("--count", type=int, default=20, help="latents")
    parser.add_argument("--fine", type=int, default=200, help="steps of the fine solution")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    table = Table(embedded_problem(0, "exact"), options.cache, options.count, options.fine)
    lines = []
    for solver, chosen in METHODS:
        for threshold in THRESHOLDS:
            given = {**chosen, "derivative": "exact", "derivative_below": threshold}
            found = {cell.nfe: cell.rmse for cell in table.ours([solver], [options.grid], options.nfe, given)}
            where = "everywhere" if threshold is None else f"gamma <= {threshold:g}"
            errors = [f"{found[nfe]:.4f}" if nfe in found else "-" for nfe in options.nfe]
            lines.append([f"`{solver}`", chosen["variable"], where, *errors])
            print(*lines[-1], file=sys.stderr, flush=True)
    print(markdown(["solver", "variable", "derivative", *map(str, options.nfe)], lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
