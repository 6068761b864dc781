"""Calibrated plans against the best plans of solvers, on latents that neither fitted nor chose anything.

    python -m benchmarks.calibrated_plans --out docs/images/calibrated_plans.csv --picture docs/images/calibrated.png
    python -m benchmarks.calibrated_plans --network FOLDER --schedule flow --prediction flow --name mine --out mine.csv

The plans are those beside the network (`genie_plans/nfe-*.json`, of `genie-samplers calibrate plan`). "Best" is the
best here of the dozen cells (solver and grid) that calibrate.choose measured as the best on other latents. A row that
the CSV holds is not measured again. Errors are root mean squares from the fine solution, and the medians of those of
single samples.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

import genie_samplers as gs
from genie_samplers.calibrate.start import start_of
from genie_samplers.cli.options import SCHEDULES
from genie_samplers.files import require
from genie_samplers.models import LABELS, CalibratedPlans, WrappedModel
from genie_samplers.plotting import plain_ticks
from genie_samplers.solvers.fitting import fitted
from genie_samplers.solvers.registry import find, rebuild
from genie_samplers.uses.compare import fine_plan, rmse

__all__ = ["COLUMNS", "main", "markdown", "measured"]

COLUMNS: tuple[str, ...] = (
    "network", "nfe", "best", "best_error", "best_median", "auto_error", "start", "calibrated_error",
    "calibrated_median",
)  # fmt: skip
_CHOOSING, _HELD_OUT, _STEPS = 1, 41, 100

Row = Mapping[str, str]


def measured(name: str, model: WrappedModel, shape: Sequence[int], nfe: int, count: int) -> Row:
    """One row. model: with plans beside it; shape: of one sample; count: held-out latents."""
    schedule, prediction = model.schedule, model.outputs[0]
    classes = getattr(getattr(model.network, "config", None), "num_class_embeds", None)

    def cond(size: int) -> dict[str, torch.Tensor]:
        return {} if classes is None else {"class_labels": torch.arange(size) % (classes - 1)}

    def made(plan: gs.Plan) -> torch.Tensor:
        return gs.sample(
            model, plan, shape=(count, *shape), seed=_HELD_OUT, cond=cond(count), batch_size=16, check_finite=False,
            progress=False,
        )  # fmt: skip

    fine = _fine(model, made, prediction)

    def error(plan: gs.Plan) -> tuple[float, float]:
        x = made(plan)
        return rmse(x, fine), float((x - fine).square().flatten(1).mean(1).sqrt().median())

    plan = gs.make_plan("calibrated", schedule, nfe, model=model)
    start = dict(plan.calibration or {})["start"]
    chosen = gs.calibrate.choose(model, schedule, nfe, shape=shape, seed=_CHOOSING, cond=cond(24))
    cells = {}
    for choice in (cell.choice for cell in chosen.cells):
        options = {**choice.options, "prediction": prediction}
        cells[str(choice)] = error(fitted(find(choice.solver), schedule, nfe, choice.grid, options))
    best = min(cells, key=lambda choice: cells[choice][0])
    auto = error(gs.make_plan("auto", schedule, nfe, prediction=prediction))
    numbers = (*cells[best], auto[0], *error(plan))
    shown = [f"{number:.4g}" for number in numbers]
    values = (name, str(nfe), best, *shown[:3], str(start), *shown[3:])
    return dict(zip(COLUMNS, values, strict=True))


_KEPT: dict[int, torch.Tensor] = {}


def _fine(model: WrappedModel, made: object, prediction: str) -> torch.Tensor:
    if id(model) not in _KEPT:
        _KEPT[id(model)] = made(fine_plan(model.schedule, _STEPS, prediction=prediction))  # type: ignore[operator]
    return _KEPT[id(model)]


def markdown(rows: Sequence[Row]) -> str:
    """The table of docs/calibrate.md."""
    lines = ["| network | evaluations | best of solvers | RMSE, median | calibrated | RMSE, median | ratio |",
             "|---|---|---|---|---|---|---|"]  # fmt: skip
    for row in sorted(rows, key=lambda row: (row["network"], int(row["nfe"]))):
        ratio = float(row["calibrated_error"]) / float(row["best_error"])
        lines.append(
            f"| {row['network']} | {row['nfe']} | {row['best']} | {float(row['best_error']):.3g}, "
            f"{float(row['best_median']):.3g} | from {row['start']} | **{float(row['calibrated_error']):.3g}**, "
            f"{float(row['calibrated_median']):.3g} | {ratio:.2f} |"
        )
    return "\n".join(lines)


def _picture(rows: Sequence[Row], path: Path) -> None:
    require("the picture", "matplotlib", extra="cli")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name in dict.fromkeys(row["network"] for row in rows):
        own = sorted((row for row in rows if row["network"] == name), key=lambda row: int(row["nfe"]))
        for column, style in (("best_error", "--"), ("calibrated_error", "-")):
            said = "best of solvers" if column == "best_error" else "calibrated"
            x, y = [int(row["nfe"]) for row in own], [float(row[column]) for row in own]
            axes.plot(x, y, style, marker="o", label=f"{name}, {said}")
    axes.set(xlabel="network evaluations", ylabel="RMSE to the fine solution", yscale="log")
    plain_ticks(axes)
    axes.legend()
    figure.savefig(path, dpi=100)


def _tables(plan: gs.Plan, path: Path) -> None:
    """The weights of the learned rows beside those of the solver that it began as, on the same times."""
    from matplotlib.figure import Figure

    recipe = plan.recipe
    assert recipe is not None  # a calibrated plan has one
    own = rebuild(recipe.solver, plan.schedule, recipe.grid, recipe.options)
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    gammas = [f"{gamma:.3g}" for gamma in plan.schedule.gamma(plan.times)]
    for axes, (title, of) in zip(figure.subplots(1, 2), ((recipe.solver, own), ("calibrated", plan)), strict=True):
        weights = start_of(of).weights[..., 0]
        axes.imshow(np.where(weights == 0.0, np.nan, weights), cmap="RdBu_r", vmin=-2.0, vmax=2.0)
        for i, j in zip(*np.nonzero(weights), strict=True):
            axes.text(j, i, f"{weights[i, j]:.2f}", ha="center", va="center", fontsize=7)
        axes.set(title=f"{title}: weights of the outputs in each row", xlabel="output of row")
        axes.set_yticks(range(len(gammas)), gammas)
        axes.set_ylabel("gamma that the network is told")
    figure.savefig(path, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", help="a diffusers folder; by default the embedded network")
    parser.add_argument("--schedule", choices=SCHEDULES)
    parser.add_argument("--prediction")
    parser.add_argument("--label", choices=LABELS, default="schedule")
    parser.add_argument("--plans", type=Path, help="folder of the plans; by default that beside the network")
    parser.add_argument("--name", default="Fashion-MNIST")
    parser.add_argument("--nfe", default="3,4,5,6,8,10", help="comma-separated")
    parser.add_argument("--count", type=int, default=64, help="held-out latents")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--tables", type=Path, help="a picture of what the last of --nfe has learned")
    given = parser.parse_args()
    if given.network is None:
        model, shape = gs.demo.embedded(), (1, 28, 28)
    else:
        schedule = SCHEDULES[given.schedule]() if given.schedule else None
        label = None if schedule is None else LABELS[given.label](schedule)
        model = gs.models.load(given.network, schedule, prediction=given.prediction, label=label)
        config = model.network.config  # type: ignore[attr-defined]
        shape = (config.in_channels, config.sample_size, config.sample_size)
    if given.plans is not None:
        model.calibrated = CalibratedPlans(given.plans, model)
    rows: list[Row] = list(csv.DictReader(given.out.open(newline=""))) if given.out.exists() else []
    known = {(row["network"], row["nfe"]) for row in rows}
    for nfe in given.nfe.split(","):
        if (given.name, nfe) not in known:
            rows.append(measured(given.name, model, shape, int(nfe), given.count))
            print(*rows[-1].values(), sep=" | ", flush=True)
            with given.out.open("w", newline="") as file:
                writer = csv.DictWriter(file, COLUMNS)
                writer.writeheader()
                writer.writerows(rows)
    if given.picture is not None:
        _picture(rows, given.picture)
    if given.tables is not None:
        _tables(gs.make_plan("calibrated", model.schedule, int(given.nfe.split(",")[-1]), model=model), given.tables)
    print(markdown(rows))


if __name__ == "__main__":
    main()
