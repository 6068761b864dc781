"""python -m benchmarks.quality.networks --network OLD --network NEW [--nfe 10,20] [--count 10000] --out networks.csv

The Frechet distance of the classifier's features from the training images and their mirror images, of samples of
networks like the embedded one, each drawn from the same numbered latents; all on ``--device``. Fewer samples than
10,000 have a larger distance, so only lines of one run are to be compared.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

import genie_samplers as gs
from genie_samplers.calibrate import frechet_distance
from genie_samplers.cli.images import to_pixels
from genie_samplers.demo.classifier import fashion_classifier
from genie_samplers.demo.data import DEFAULT_ROOT, fashion_mnist
from genie_samplers.models import WrappedModel, load
from genie_samplers.plan import Plan

from .frechet import PixelFeatures, mirrored
from .options import integers, names
from .problem import classes

__all__ = ["Line", "lines", "main"]

_SHAPE, _BATCH = (1, 28, 28), 500

Array = NDArray[np.float64]
Pixels = NDArray[np.uint8]


class Line(NamedTuple):
    """Of the table; frechet as text of three digits."""

    network: str
    solver: str
    evaluations: int
    samples: int
    frechet: str


def lines(
    folders: Sequence[Path], solvers: Sequence[str], nfes: Sequence[int], *, count: int, data: Path, device: str
) -> Iterator[Line]:
    """One for each network, number of evaluations and solver. count: of samples, a tenth of each class."""
    features = PixelFeatures(fashion_classifier()).to(device)
    real = _features(features, mirrored(fashion_mnist("train", data)), device)
    for folder in folders:
        model = load(folder, device=device)
        assert model.schedule is not None  # load refuses a folder that does not say it
        for nfe, solver in product(nfes, solvers):
            plan = gs.make_plan(solver, model.schedule, nfe, model=model)
            made = _features(features, _samples(model, plan, count, device), device)
            named = solver if plan.recipe is None else plan.recipe.solver
            yield Line(str(folder), named, nfe, count, f"{frechet_distance(real, made):.3g}")


def _samples(model: WrappedModel, plan: Plan, count: int, device: str) -> Pixels:
    """uint8 [count, 28, 28, 1]."""
    x = gs.sample(
        model, plan, shape=(count, *_SHAPE), seed=0, cond={"class_labels": classes(range(count))}, device=device,
        batch_size=min(_BATCH, count), progress=False,
    )  # fmt: skip
    return to_pixels(x.cpu().numpy())


@torch.no_grad()
def _features(features: PixelFeatures, pixels: Pixels, device: str) -> Array:
    """float64 [N, F]."""
    batches = torch.from_numpy(pixels).split(_BATCH)
    return torch.cat([features(batch.to(device)).cpu() for batch in batches]).numpy()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality.networks", description=__doc__)
    parser.add_argument("--network", type=Path, action="append", required=True, help="a folder; repeatable")
    parser.add_argument("--solvers", type=names, default=["auto"], help="comma-separated names")
    parser.add_argument("--nfe", type=integers, default=[10, 20], help="comma-separated evaluations")
    parser.add_argument("--count", type=int, default=10_000, help="samples of each line")
    parser.add_argument("--data", type=Path, default=DEFAULT_ROOT, help="folder of Fashion-MNIST's files")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, required=True, help="the table as CSV")
    given = parser.parse_args(arguments)
    found: list[Line] = []
    for line in lines(given.network, given.solvers, given.nfe, count=given.count, data=given.data, device=given.device):
        found.append(line)
        print(*line, sep=" | ", flush=True)
        given.out.parent.mkdir(parents=True, exist_ok=True)
        with given.out.open("w", newline="") as file:
            csv.writer(file).writerows([Line._fields, *found])
    return 0


if __name__ == "__main__":
    sys.exit(main())
