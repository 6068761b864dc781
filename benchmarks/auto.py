"""What "auto" chooses on many schedules, beside the best candidate on exact data that took no part in the score.

    python -m benchmarks.auto [--nfe 4,5,6,8,10,12,15,20] [--schedules flow,edm] --out docs/images/auto.csv

The data: three mixtures of several sizes and Gaussian data of two other spectra; the error is the root mean square over
all five. Without a network; minutes.
"""

from __future__ import annotations

import argparse
import csv
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from genie_samplers import make_plan, schedules
from genie_samplers.plan import Plan
from genie_samplers.schedules import AlphasCumprod, Remembered, Schedule
from genie_samplers.solvers.choosing import AUTO, Options, fitting_grids
from genie_samplers.solvers.exact_data import mixtures, power_law
from genie_samplers.solvers.fitting import fitted
from genie_samplers.solvers.registry import find
from genie_samplers.solvers.scoring import gaussian_score, mixture_error

__all__ = ["SCHEDULES", "held_out_error", "main", "markdown"]

from_betas, linear = schedules.from_betas, schedules.linear_betas
SCHEDULES: dict[str, Schedule] = {
    "vp_linear": schedules.vp_linear(),
    "vp_cosine": schedules.vp_cosine(),
    "squaredcos 50": from_betas(schedules.squaredcos_betas(50)),
    "squaredcos 1000": from_betas(schedules.squaredcos_betas(1000)),
    "squaredcos 4000": from_betas(schedules.squaredcos_betas(4000)),
    "linear 50": from_betas(linear(50, beta_start=2e-3, beta_end=0.4)),
    "linear 1000": from_betas(linear(1000)),
    "linear 4000": from_betas(linear(4000, beta_start=2.5e-5, beta_end=5e-3)),
    "scaled_linear": from_betas(schedules.scaled_linear_betas()),
    "zero-SNR": from_betas(schedules.scaled_linear_betas(), zero_terminal_snr=True),
    "flow": schedules.flow(),
    "flow, shift 3": schedules.flow(shift=3.0),
    "flow, shift 12": schedules.flow(shift=12.0),
    "edm": schedules.edm(),
    "ve": schedules.ve(),
}
_LATENTS = (-2.1, -1.4, -0.9, -0.45, -0.15, 0.2, 0.6, 1.0, 1.35, 1.9)
_SHAPES = (
    ((0.3, 0.7), (-1.0, 0.8), (0.25, 0.4)),
    ((0.5, 0.5), (-0.7, 0.7), (0.05, 0.05)),
    ((0.2, 0.5, 0.3), (-0.9, 0.0, 0.6), (0.1, 0.04, 0.2)),
)
SPECTRA = (power_law(2.5, variance=0.15), power_law(3.5, variance=0.3))
MIXED = tuple(mixtures(*shape, like=SPECTRA[0], latents=_LATENTS) for shape in _SHAPES)


def held_out_error(plan: Plan, schedule: Schedule) -> float:
    """Root mean square over the data that took no part in the score."""
    errors = [mixture_error(plan, schedule, data) for data in MIXED]
    errors += [gaussian_score(plan, schedule, data).error for data in SPECTRA]
    return math.sqrt(sum(error**2 for error in errors) / len(errors))


def rows(schedule: Schedule, nfe: int) -> tuple[str, float, str, float]:
    """The choice and its error, the best candidate and its error."""
    denoise = isinstance(schedule, AlphasCumprod)
    kept: dict[tuple[float, ...], Remembered] = {}

    def error(plan: Plan) -> float:
        grid = plan.recipe.grid  # type: ignore[union-attr]
        if grid not in kept:
            kept[grid] = Remembered(schedule, grid)
        return held_out_error(plan, kept[grid])

    cells: dict[str, float] = {}
    for grid in fitting_grids(schedule, denoise=denoise):
        for name, free in AUTO:
            options = Options({**find(name).options, **free, "prediction": "v"})
            plan = fitted(find(name), schedule, nfe, grid, options, denoise=denoise)
            cells[f"{name}{_said(free)} {grid}"] = error(plan)
    chosen = make_plan("auto", schedule, nfe, prediction="v")
    best = min(cells, key=cells.__getitem__)
    return chosen.note.split(": ")[1].split(", score")[0], error(chosen), best, cells[best]


def _said(options: object) -> str:
    return f" {dict(options)}" if options else ""  # type: ignore[call-overload]


def table(names: list[str], nfes: list[int]) -> Iterator[dict[str, object]]:
    for name in names:
        for nfe in nfes:
            chosen, error, best, least = rows(SCHEDULES[name], nfe)
            yield {
                "schedule": name, "nfe": nfe, "auto": chosen, "error": f"{error:.6g}", "best": best,
                "best_error": f"{least:.6g}", "ratio": f"{error / least:.3f}",
            }  # fmt: skip


def markdown(found: Sequence[Mapping[str, object]]) -> str:
    """The table of docs/auto.md: error, and in brackets how many times the best candidate's."""
    nfes = list(dict.fromkeys(str(row["nfe"]) for row in found))
    cells = {(row["schedule"], str(row["nfe"])): row for row in found}
    lines = [f"| schedule | {' | '.join(nfes)} |", f"|---|{'---|' * len(nfes)}"]
    for name in dict.fromkeys(row["schedule"] for row in found):
        each = (cells[name, nfe] for nfe in nfes)
        text = (f"{float(str(row['error'])):.2g} ({float(str(row['ratio'])):.2f})" for row in each)
        lines.append(f"| {name} | {' | '.join(text)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nfe", default="4,5,6,8,10,12,15,20", help="comma-separated")
    parser.add_argument("--schedules", default=";".join(SCHEDULES), help="names separated by semicolons")
    parser.add_argument("--out", type=Path, required=True, help="the table as CSV")
    given = parser.parse_args()
    found = []
    for row in table(given.schedules.split(";"), [int(n) for n in given.nfe.split(",")]):
        found.append(row)
        print(*row.values(), sep=" | ", flush=True)
        with given.out.open("w", newline="") as file:
            writer = csv.DictWriter(file, found[0].keys())
            writer.writeheader()
            writer.writerows(found)
    print(markdown(found))
    ratios = [float(str(row["ratio"])) for row in found]
    print(f"of {len(ratios)}: median {statistics.median(ratios):.3f}, worst {max(ratios):.3f}")


if __name__ == "__main__":
    main()
