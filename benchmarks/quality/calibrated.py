"""python -m benchmarks.quality.calibrated [--nfe 5,8] [--count 1000] [--data ROOT] [--out docs/images/frechet_....csv]

The Frechet distance (of the classifier's features, never an FID) of samples of the embedded network by its calibrated
plans, by the plan of the best score, and by a fine solution. A row that the CSV holds is not measured again.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import torch

import genie_samplers as gs
from genie_samplers.cli.images import to_pixels
from genie_samplers.demo.classifier import fashion_classifier
from genie_samplers.demo.data import DEFAULT_ROOT, fashion_mnist
from genie_samplers.uses.compare import fine_plan

from .frechet import FrechetDistance, PixelFeatures, mirrored

__all__ = ["main"]

COLUMNS = ("plan", "evaluations", "samples", "frechet")
_FINE, _SEED, _BATCH = 40, 3, 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nfe", default="5,8", help="comma-separated")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--data", type=Path, default=DEFAULT_ROOT, help="folder of the four Fashion-MNIST files")
    parser.add_argument("--out", type=Path, default=Path("docs/images/frechet_calibrated.csv"))
    given = parser.parse_args()
    model, schedule = gs.demo.embedded(), gs.schedules.vp_linear()
    distance = FrechetDistance(PixelFeatures(fashion_classifier()), mirrored(fashion_mnist("train", given.data)))
    labels = {"class_labels": torch.arange(given.count) % 10}
    rows = list(csv.reader(given.out.open(newline="")))[1:] if given.out.exists() else []
    known = {tuple(row[:3]) for row in rows}
    plans = {
        (name, nfe): gs.make_plan(name, schedule, int(nfe), model=model)
        for nfe in given.nfe.split(",")
        for name in ("calibrated", "auto")
    }
    for (name, nfe), plan in {**plans, ("fine", str(_FINE)): fine_plan(schedule, _FINE)}.items():
        key = (name, nfe, str(given.count))
        if key in known:
            continue
        made = gs.sample(
            model, plan, shape=(given.count, 1, 28, 28), seed=_SEED, cond=labels, batch_size=_BATCH, progress=False
        )
        rows.append([*key, f"{distance.to(to_pixels(made.numpy())):.2f}"])
        print(*rows[-1], flush=True)
        with given.out.open("w", newline="") as file:
            csv.writer(file).writerows([COLUMNS, *rows])


if __name__ == "__main__":
    main()
