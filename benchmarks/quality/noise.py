"""python -m benchmarks.quality.noise [--nfe 20] [--langevin 50] [--full 200] [--count 500] ...

What temperatures, filters and gains do to samples of the embedded network: the Frechet distance of the classifier's
features, and the power at low and at high frequencies over that of the training images. ``ddpm`` in --nfe evaluations,
and ``predictor_corrector`` on ``ve`` in --langevin steps of two. It may be stopped and goes on where it was.

Filters, the published gains and those fitted to the network are calibrated on 200 samples of another seed (--full
steps against the number of the comparison), gains in closed form on the within-class spectrum of the training images:
nothing is chosen by what the table shows. Beside noise.csv, of each comparison: noise-NAME.png, the first sample of
each class, a row for each noise; noise-ratio-NAME.png, K(rho): log power over that of the samples of full length.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from genie_samplers import tdas
from genie_samplers.cli.images import captioned, to_pixels
from genie_samplers.demo.classifier import fashion_classifier
from genie_samplers.demo.data import CLASS_NAMES, DEFAULT_ROOT, fashion_mnist

from .frechet import FrechetDistance, PixelFeatures, mirrored
from .options import add_cache, integers
from .treatments import SHAPE, Images, Study, Treatment, full_length, of_ddpm, of_langevin

__all__ = ["COLUMNS", "draw", "main", "ratio_picture", "row"]

COLUMNS = ("solver", "evaluations", "noise", "samples", "frechet", "power_low", "power_high")
_LOW, _HIGH = 0.1, 0.6  # rho below and above which power is compared


def row(treatment: Treatment, made: Images, distance: FrechetDistance, data: NDArray[np.float64]) -> tuple[Any, ...]:
    """Of COLUMNS. data: the power of each frequency of real images."""
    rho = tdas.radius(SHAPE[1:])
    ratio = (tdas.power_spectrum(made) / data)[0]
    powers = (f"{ratio[zone].mean():.3g}" for zone in (rho < _LOW, rho > _HIGH))
    recipe = treatment.plan.recipe
    solver = "" if recipe is None else recipe.solver
    frechet = f"{distance.to(to_pixels(made)):.3g}"
    return solver, treatment.plan.nfe, treatment.noise, len(made), frechet, *powers


def ratio_picture(samples: Mapping[str, Images], full: Images, path: Path) -> None:
    """K(rho) of samples in [-1, 1] by the name of their noise, over ``full``, as published: DCT of images in [0, 1]."""
    from matplotlib.figure import Figure

    powers = {name: tdas.log_power((made + 1.0) / 2.0, transform="dct") for name, made in samples.items()}
    vanilla = tdas.log_power((full + 1.0) / 2.0, transform="dct")
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, power in powers.items():
        axes.plot(*tdas.behaviour(power / vanilla, transform="dct"), ".", markersize=2, label=name)
    axes.axhline(1.0, color="grey", linewidth=0.8)
    axes.set(xlabel="rho", ylabel="K(rho)", yscale="log")
    axes.legend(markerscale=5, fontsize=8)
    figure.savefig(path, dpi=90)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality.noise", description=__doc__)
    parser.add_argument("--nfe", type=integers, default=[20], help="of ddpm, comma-separated")
    parser.add_argument("--langevin", type=integers, default=[50], help="steps of predictor_corrector")
    parser.add_argument("--temperatures", type=_numbers, default=[1.03, 1.06, 1.1], help="of ddpm")
    parser.add_argument("--langevin-temperatures", type=_numbers, default=[0.95, 0.98], help="of predictor_corrector")
    parser.add_argument("--full", type=int, default=200, help="steps that filters are calibrated against")
    parser.add_argument("--count", type=int, default=500, help="samples of each line")
    parser.add_argument("--noises", default="", help="only those whose names begin with one of these, comma-separated")
    parser.add_argument("--data", type=Path, default=DEFAULT_ROOT, help="folder of Fashion-MNIST's files")
    parser.add_argument("--out", type=Path, default=Path("docs/images"), help="folder of noise.csv and the pictures")
    add_cache(parser)
    given = parser.parse_args(sys.argv[1:] if arguments is None else list(arguments))
    torch.set_num_threads(1)
    images = fashion_mnist("train", given.data)
    distance = FrechetDistance(PixelFeatures(fashion_classifier()), mirrored(images))
    data = tdas.power_spectrum(images.images)
    ancestral, langevin = (
        Study(images, given.full, given.cache, some) for some in (given.temperatures, given.langevin_temperatures)
    )
    runs = [("ddpm", n, of_ddpm(n, ancestral), ancestral) for n in given.nfe]
    runs += [("predictor_corrector", n, of_langevin(n, langevin), langevin) for n in given.langevin]
    found: list[tuple[Any, ...]] = []
    for solver, n, treatments, study in runs:
        samples: dict[str, Images] = {}
        for name, make in treatments.items():
            if name.startswith(tuple(given.noises.split(","))):
                treatment = make()
                samples[name] = study.samples(treatment, given.count)
                found.append(row(treatment, samples[name], distance, data))
                print(*found[-1], sep=" | ", flush=True)
                _write(given.out / "noise.csv", found)
        draw(given.out, f"{solver}-{n}", samples, study.calibrating(full_length(solver, study.full)))
    return 0


def draw(folder: Path, name: str, samples: Mapping[str, Images], full: Images) -> None:
    """The two pictures of a comparison in ``folder``: first samples by noise, and K(rho) over ``full``."""
    pages = [made[: len(CLASS_NAMES)] for made in samples.values()]
    if pages:
        caption = f"{name}: a row for each line of noise.csv"
        page = captioned(to_pixels(np.concatenate(pages)), len(CLASS_NAMES), caption)
        page.save(folder / f"noise-{name}.png")
        ratio_picture(samples, full, folder / f"noise-ratio-{name}.png")


def _numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",") if part]


def _write(path: Path, found: Sequence[tuple[Any, ...]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *found])


if __name__ == "__main__":
    raise SystemExit(main())
