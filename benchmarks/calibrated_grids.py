"""python -m benchmarks.calibrated_grids [--out docs/images/calibrate.csv] [--page docs/calibrate.md]

Held-out RMSE of standard and calibrated grids on the embedded network, written to a CSV after every cell; then the
table in the page is replaced by the CSV's. A cell that the CSV holds already is not measured again.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

import genie_samplers as gs
from genie_samplers.calibrate import Reference, search

__all__ = ["COLUMNS", "main", "markdown", "with_table"]

SOLVERS = ("ddim", "deis_tab1", "deis_tab2", "deis_tab3", "dpmpp_2m", "unipc2", "ipndm3")
NFES = (4, 5, 6, 8, 10)
CALIBRATION, HELD_OUT = (1, 12), (0, 20)  # seed, latents
RUNS = 30
COLUMNS: tuple[str, ...] = (
    "solver",
    "nfe",
    "best_standard",
    "best_standard_grid",
    "shortest_path",
    "calibrated",
    "runs",
)
START, END = "<!-- table: python -m benchmarks.calibrated_grids -->", "<!-- end of table -->"

Row = Mapping[str, str]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibrated_grids", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/images/calibrate.csv"))
    parser.add_argument("--page", type=Path, default=Path("docs/calibrate.md"))
    options = parser.parse_args(arguments)
    rows = _read(options.out)
    measured = {(row["solver"], int(row["nfe"])) for row in rows}
    missing = [cell for cell in itertools.product(SOLVERS, NFES) if cell not in measured]
    if missing:
        calibration, held_out = (_record(seed, count) for seed, count in (CALIBRATION, HELD_OUT))
        for solver, nfe in missing:
            rows.append(_measure(calibration, held_out, solver, nfe))
            print(*rows[-1].values(), flush=True)
            _write(options.out, rows)
    options.page.write_text(with_table(options.page.read_text(encoding="utf-8"), rows), encoding="utf-8")
    return 0


def markdown(rows: Sequence[Row]) -> str:
    """Per solver and NFE: the best standard grid (by held-out RMSE) and the calibrated one, the better in bold."""
    lines = [f"| | {' | '.join(f'{nfe} evaluations' for nfe in NFES)} |", f"|---|{'---|' * len(NFES)}"]
    for solver in SOLVERS:
        cells = {int(row["nfe"]): row for row in rows if row["solver"] == solver}
        lines.append(f"| `{solver}` | {' | '.join(_cell(cells.get(nfe)) for nfe in NFES)} |")
    return "\n".join(lines)


def with_table(page: str, rows: Sequence[Row]) -> str:
    """The page with the table between its two marks replaced."""
    before, rest = page.split(START)
    return f"{before}{START}\n\n{markdown(rows)}\n\n{END}{rest.split(END)[1]}"


def _cell(row: Row | None) -> str:
    if row is None:
        return ""
    errors = [float(row[key]) for key in ("best_standard", "calibrated")]
    return " / ".join(f"**{error:.3g}**" if error == min(errors) else f"{error:.3g}" for error in errors)


def _record(seed: int, count: int) -> Reference:
    return Reference.record(
        gs.demo.embedded(), gs.schedules.vp_linear(), shape=(count, 1, 28, 28), seed=seed,
        cond={"class_labels": torch.arange(count) % 10},
    )  # fmt: skip


def _measure(calibration: Reference, held_out: Reference, solver: str, nfe: int) -> dict[str, str]:
    found = search(calibration, solver, nfe, runs=RUNS)
    held = {name: held_out.rmse(plan) for name, plan in found.starts.items()}
    standard = {name: rmse for name, rmse in held.items() if name in gs.grids.GRIDS}
    best = min(standard, key=standard.__getitem__)
    path = held.get("shortest_path")
    values = (
        solver, str(nfe), f"{standard[best]:.5f}", best,
        "" if path is None else f"{path:.5f}", f"{held_out.rmse(found.plan):.5f}", str(found.runs),
    )  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))


def _read(path: Path) -> list[Row]:
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _write(path: Path, rows: Sequence[Row]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    sys.exit(main())
