"""Guided GENIE: the derivative along the guided direction beside the published mixture: docs/images/genie_guidance.png.

    python examples/genie_guidance.py [--scale 3] [--nfe 6,10] [--out picture.png]

Needs the embedded network (pip install "genie-ext[cli]"). The CSV beside the picture has the RMSE to the fine solution.
"""

from __future__ import annotations

import csv
from pathlib import Path

import click
import torch
from torch import Tensor

import genie_samplers as gs
from genie_samplers import genie
from genie_samplers.cli import images
from genie_samplers.uses.compare import fine_plan, rmse

ROOT = Path(__file__).resolve().parents[1]
COUNT = 10  # samples, one of each class


@click.command()
@click.option("--scale", default=3.0, show_default=True, help="Of classifier-free guidance.")
@click.option("--nfe", "nfes", default="6,10", show_default=True, help="Comma-separated evaluations, a pair is one.")
@click.option("--fine", default=200, show_default=True, help="Steps of the fine solution.")
@click.option("--out", type=click.Path(path_type=Path), default=ROOT / "docs" / "images" / "genie_guidance.png")
def main(scale: float, nfes: str, fine: int, out: Path) -> None:
    """One row of the picture for each method and number of evaluations."""
    images.check_target(out)
    network = gs.demo.embedded()
    pair = gs.guidance.classifier_free(network, null={"class_labels": gs.demo.NULL_CLASS})
    schedule = network.schedule

    def run(model: object, plan: gs.Plan) -> Tensor:
        cond = {"class_labels": torch.arange(COUNT)}
        return gs.sample(model, plan, shape=(COUNT, 1, 28, 28), cond=cond, progress=False)  # type: ignore[arg-type]

    def plan(solver: str, nfe: int, **options: object) -> gs.Plan:
        return gs.make_plan(solver, schedule, nfe, options=options)

    exact_fine = run(pair, fine_plan(schedule, fine).guided(scale))
    rows, errors = {"fine solution": exact_fine}, []
    for nfe in map(int, nfes.split(",")):
        solved = {
            "ddim": run(pair, plan("ddim", nfe).guided(scale)),
            "deis_log_ab": run(pair, plan("deis_log_ab", nfe).guided(scale)),
            "genie_hermite3, exact, mixed": run(
                genie.exact(pair), plan("genie_hermite3", nfe, derivative="exact").guided(scale)
            ),
            "genie_hermite3, exact, guided direction": run(
                genie.exact(pair, scale=scale), plan("genie_hermite3", nfe, derivative="exact")
            ),
        }
        for name, x in solved.items():
            error = rmse(x, exact_fine)
            errors.append((name, nfe, f"{error:.4f}"))
            rows[f"{name}, {nfe}"] = x
            click.echo(f"{name:42s} {nfe:3d} evaluations  rmse {error:.4f}")

    cells = [list(images.to_pixels(row.numpy())) for row in rows.values()]
    page = images.labelled_table(cells, list(rows), [""] * COUNT)
    images.save_png(page, out, {"scale": scale, "nfe": nfes, "fine": fine})
    with open(out.with_suffix(".csv"), "w", newline="") as file:
        csv.writer(file).writerows([("method", "nfe", "rmse"), *errors])


if __name__ == "__main__":
    main()
