"""How good "auto" and calibrate.choose are on a network: the embedded one, or one of your own.

    python -m benchmarks.networks --out docs/images/networks.csv
    python -m benchmarks.networks --network FOLDER --schedule flow --prediction flow --name "my network" --out mine.csv

Errors are root mean squares from the network's own fine solution over sixteen latents that chose nothing. "Best" is
the best there of the dozen cells (solver and grid) that were the best on the latents that chose, so that it is no
winner by chance. Rows of other networks in the CSV stay.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

import genie_samplers as gs
from genie_samplers.cli.options import SCHEDULES
from genie_samplers.models import LABELS, Model
from genie_samplers.schedules import Schedule
from genie_samplers.solvers.choosing import Choice, fitting_grids
from genie_samplers.solvers.fitting import fitted
from genie_samplers.solvers.registry import find
from genie_samplers.uses.compare import fine_plan, rmse

__all__ = ["main", "markdown", "rows"]

COLUMNS: tuple[str, ...] = (
    "network", "nfe", "best", "best_error", "auto", "auto_error", "choose", "choose_error", "ddim_error", "fine",
)  # fmt: skip
CHOOSING, HELD_OUT, LATENTS = 1, 31, 16  # seeds, and the latents of the second
_STEPS = 120

Row = Mapping[str, object]


def rows(name: str, model: Model, shape: Sequence[int], nfes: Sequence[int]) -> Iterator[Row]:
    """One per number of evaluations. model: with its schedule; shape: of one sample."""
    schedule, prediction = model.schedule, model.prediction or "epsilon"
    if schedule is None:
        raise ValueError("model: has no schedule; wrap it with one")

    def cond(count: int) -> dict[str, torch.Tensor]:
        classes = getattr(getattr(model.network, "config", None), "num_class_embeds", None)
        return {} if classes is None else {"class_labels": torch.arange(count) % (classes - 1)}

    def made(plan: gs.Plan) -> torch.Tensor:
        return gs.sample(
            model, plan, shape=(LATENTS, *shape), seed=HELD_OUT, cond=cond(LATENTS), check_finite=False, progress=False
        )

    fine = made(fine_plan(schedule, _STEPS, prediction=prediction))

    def error(plan: gs.Plan) -> float:
        return rmse(made(plan), fine)

    for nfe in nfes:
        chosen = gs.calibrate.choose(model, schedule, nfe, shape=shape, seed=CHOOSING, cond=cond(24))
        cells = {str(cell.choice): error(_plan(cell.choice, schedule, nfe, prediction)) for cell in chosen.cells}
        auto = gs.make_plan("auto", schedule, nfe, prediction=prediction)
        natural = fitting_grids(schedule, denoise=False)[0]
        ddim = gs.make_plan("ddim", schedule, nfe, grid=natural, prediction=prediction)
        best, choice = min(cells, key=cells.__getitem__), str(chosen.cells[0].choice)
        yield {
            "network": name, "nfe": nfe, "best": best, "best_error": f"{cells[best]:.4g}",
            "auto": auto.note.split(": ")[1].split(", score")[0], "auto_error": f"{error(auto):.4g}",
            "choose": choice, "choose_error": f"{cells[choice]:.4g}",
            "ddim_error": f"{error(ddim):.4g}", "fine": f"{chosen.convergence:.2g}",
        }  # fmt: skip


def _plan(choice: Choice, schedule: Schedule, nfe: int, prediction: str) -> gs.Plan:
    options = {**choice.options, "prediction": prediction}
    return fitted(find(choice.solver), schedule, nfe, choice.grid, options)


def markdown(found: Sequence[Row]) -> str:
    """The table of docs/auto.md: how many times the best cell's error."""
    nfes = list(dict.fromkeys(str(row["nfe"]) for row in found))
    lines = [f"| network | | {' | '.join(nfes)} |", f"|---|---|{'---|' * len(nfes)}"]
    for name in dict.fromkeys(row["network"] for row in found):
        of_nfe = {str(row["nfe"]): row for row in found if row["network"] == name}
        for column in ("best", "auto", "choose", "ddim"):
            cells = [_cell(of_nfe.get(nfe), column) for nfe in nfes]
            lines.append(f"| {name if column == 'best' else ''} | {column} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(row: Row | None, column: str) -> str:
    if row is None:
        return ""
    best = float(str(row["best_error"]))
    return f"{best:.3g}" if column == "best" else f"{float(str(row[f'{column}_error'])) / best:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", help="a diffusers folder; by default the embedded network")
    parser.add_argument("--schedule", choices=SCHEDULES, help="what it was trained with, where the folder is silent")
    parser.add_argument("--prediction")
    parser.add_argument("--label", choices=LABELS, default="schedule")
    parser.add_argument("--name", help="of the rows; by default the folder's")
    parser.add_argument("--nfe", default="4,5,6,8,10,15,20", help="comma-separated")
    parser.add_argument("--out", type=Path, required=True, help="the table as CSV")
    given = parser.parse_args()
    name = given.name or (Path(given.network).name if given.network else "Fashion-MNIST")
    if given.network is None:
        model, shape = gs.demo.embedded(), (1, 28, 28)
    else:
        schedule = None if given.schedule is None else SCHEDULES[given.schedule]()
        label = None if schedule is None else LABELS[given.label](schedule)
        model = gs.models.load(given.network, schedule, prediction=given.prediction, label=label)
        config: Any = getattr(model.network, "config")  # noqa: B009  of diffusers
        shape = (config.in_channels, config.sample_size, config.sample_size)
    kept = list(csv.DictReader(given.out.open(newline=""))) if given.out.exists() else []
    for row in rows(name, model, shape, [int(nfe) for nfe in given.nfe.split(",")]):
        print(*row.values(), sep=" | ", flush=True)
        same = (name, str(row["nfe"]))
        kept = [old for old in kept if (old["network"], old["nfe"]) != same] + [{k: str(v) for k, v in row.items()}]
        with given.out.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(kept)
    print(markdown(kept))


if __name__ == "__main__":
    main()
