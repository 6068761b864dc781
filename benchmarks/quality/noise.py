"""python -m benchmarks.quality.noise [--nfe 20] [--langevin 50] [--full 200] [--count 500] ...

What temperatures, filters and gains do to samples of the embedded network: the Frechet distance of the classifier's
features, and the power at low and at high frequencies over that of the training images. ``ddpm`` in --nfe evaluations,
and ``predictor_corrector`` on ``ve`` in --langevin steps of two. It may be stopped and goes on where it was.

Filters and the published gains are calibrated on 200 samples of another seed (--full steps against the number of
the comparison), gains in closed form on the within-class spectrum of the training images: nothing is chosen by what the
table shows.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import genie_samplers as gs
from genie_samplers import tdas
from genie_samplers.cli.images import captioned, to_pixels
from genie_samplers.demo.classifier import fashion_classifier
from genie_samplers.demo.data import CLASS_NAMES, DEFAULT_ROOT, LabelledImages, fashion_mnist
from genie_samplers.plan import Plan, filtered

from .frechet import FrechetDistance, PixelFeatures, mirrored
from .options import add_cache, integers
from .problem import classes
from .store import cached, digest

__all__ = ["COLUMNS", "Treatment", "main", "of_ddpm", "of_langevin", "row"]

COLUMNS = ("solver", "evaluations", "noise", "samples", "frechet", "power_low", "power_high")
_BATCH, _SHAPE = 40, (1, 28, 28)
_SEED, _OTHER_SEED = 0, 5
_CALIBRATING = 200  # samples
_LOW, _HIGH = 0.1, 0.6  # rho below and above which power is compared
_SHRINKAGE = 0.12

Images = NDArray[np.float32]


@dataclass(frozen=True)
class Treatment:
    """A plan whose noise is changed. operators: those that it names."""

    noise: str
    model: gs.models.Model
    plan: Plan
    operators: Mapping[str, Any] = field(default_factory=dict)

    def samples(self, count: int, seed: int = _SEED) -> Images:
        """[count, 1, 28, 28], of all classes in turn."""
        return gs.sample(
            self.model, self.plan, shape=(count, *_SHAPE), seed=seed, cond={"class_labels": classes(range(count))},
            batch_size=_BATCH, operators=self.operators, progress=False,
        ).numpy()  # fmt: skip


def of_ddpm(nfe: int, full: int, images: LabelledImages, cache: Path) -> Iterator[Treatment]:
    """Ancestral sampling, uniform t."""
    model = gs.demo.embedded()
    plan, whole = (gs.make_plan("ddpm", model.schedule, n, grid="uniform_t") for n in (nfe, full))
    yield Treatment("white", model, plan)
    for factor in (1.03, 1.06, 1.1):
        yield Treatment(f"temperature {factor}", model, gs.solvers.tempered(plan, factor))
    spec = _calibrated(Treatment("full", model, whole), Treatment("accelerated", model, plan), cache)
    yield Treatment("tdas", model, filtered(plan, "filter"), tdas.operators(spec))
    coloured = filtered(plan, "filter", start=False, by_draw=True)
    progress = partial(
        tdas.measured_progress, model, plan, shape=(_CALIBRATING, *_SHAPE), seed=_OTHER_SEED, batch_size=_BATCH,
        cond={"class_labels": classes(range(_CALIBRATING))},
    )  # fmt: skip
    published = tdas.gains_from_progress(cached(cache / f"progress-{_key(plan)}.npy", progress))
    yield Treatment("gains from progress", model, coloured, tdas.operators(published))
    closed = tdas.gains_from_spectrum(plan, tdas.power_spectrum(images.images, labels=images.labels))
    yield Treatment("gains from the spectrum", model, coloured, tdas.operators(closed))
    shrunk = tdas.operators(closed.shrunk(_SHRINKAGE))
    yield Treatment(f"gains from the spectrum, shrunk to {_SHRINKAGE}", model, coloured, shrunk)


def of_langevin(steps: int, full: int, cache: Path) -> Iterator[Treatment]:
    """Reverse diffusion and one Langevin correction in each step, sigma from 50 to 0.01."""
    model = gs.demo.embedded(schedule=gs.schedules.ve())

    def made(name: str, n: int = steps, mode: str | None = None, spec: tdas.FilterSpec | None = None) -> Treatment:
        plan = gs.make_plan("predictor_corrector", model.schedule, 2 * n, grid="log_snr", options={"filter": mode})
        return Treatment(name, model, plan, {} if spec is None else tdas.operators(spec, adjoint=mode == "pds"))

    yield made("white")
    for factor in (0.95, 0.98):
        scalar = tdas.FilterSpec("dct", np.full(_SHAPE[1:], factor))
        yield made(f"temperature {factor}", mode="tdas", spec=scalar)
    spec = _calibrated(made("full", full), made("accelerated"), cache)
    yield made("tdas", mode="tdas", spec=spec)
    yield made("pds", mode="pds", spec=spec)


def _calibrated(full: Treatment, accelerated: Treatment, cache: Path) -> tdas.FilterSpec:
    def samples(of: Treatment) -> Images:
        path = cache / f"calibrating-{_key(of.plan)}.npy"
        return cached(path, lambda: of.samples(_CALIBRATING, _OTHER_SEED)).astype(np.float32)

    return tdas.calibrate(samples(full), samples(accelerated)).spec


def _key(plan: Plan, *others: str) -> str:
    weights = (value.cpu().numpy().tobytes() for value in gs.demo.embedded().network.state_dict().values())  # type: ignore[union-attr]
    return digest(plan.to_json().encode(), *(other.encode() for other in others), *weights)


def row(treatment: Treatment, made: Images, distance: FrechetDistance, data: NDArray[np.float64]) -> tuple[Any, ...]:
    """Of COLUMNS. data: the power of each frequency of real images."""
    rho = tdas.radius(_SHAPE[1:])
    ratio = (tdas.power_spectrum(made) / data)[0]
    powers = (f"{ratio[zone].mean():.3g}" for zone in (rho < _LOW, rho > _HIGH))
    recipe = treatment.plan.recipe
    solver = "" if recipe is None else recipe.solver
    frechet = f"{distance.to(to_pixels(made)):.3g}"
    return solver, treatment.plan.nfe, treatment.noise, len(made), frechet, *powers


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality.noise", description=__doc__)
    parser.add_argument("--nfe", type=integers, default=[20], help="of ddpm, comma-separated")
    parser.add_argument("--langevin", type=integers, default=[50], help="steps of predictor_corrector")
    parser.add_argument("--full", type=int, default=200, help="steps that filters are calibrated against")
    parser.add_argument("--count", type=int, default=500, help="samples of each line")
    parser.add_argument("--data", type=Path, default=DEFAULT_ROOT, help="folder of Fashion-MNIST's files")
    parser.add_argument("--out", type=Path, default=Path("docs/images"), help="folder of noise.csv and the pictures")
    add_cache(parser)
    given = parser.parse_args(sys.argv[1:] if arguments is None else list(arguments))
    torch.set_num_threads(1)
    images = fashion_mnist("train", given.data)
    distance = FrechetDistance(PixelFeatures(fashion_classifier()), mirrored(images))
    data = tdas.power_spectrum(images.images)
    runs = [(f"ddpm-{n}", of_ddpm(n, given.full, images, given.cache)) for n in given.nfe]
    runs += [(f"langevin-{n}", of_langevin(n, given.full, given.cache)) for n in given.langevin]
    found: list[tuple[Any, ...]] = []
    for name, treatments in runs:
        pages: list[Images] = []
        for treatment in treatments:
            path = given.cache / "noise" / f"{_key(treatment.plan, treatment.noise)}-{given.count}.npy"
            made = cached(path, lambda of=treatment: of.samples(given.count)).astype(np.float32)
            found.append(row(treatment, made, distance, data))
            pages.append(made[: len(CLASS_NAMES)])
            print(*found[-1], sep=" | ", flush=True)
            _write(given.out / "noise.csv", found)
        page = captioned(
            to_pixels(np.concatenate(pages)), len(CLASS_NAMES), f"{name}: a row for each line of noise.csv"
        )
        page.save(given.out / f"noise-{name}.png")
    return 0


def _write(path: Path, found: Sequence[tuple[Any, ...]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *found])


if __name__ == "__main__":
    raise SystemExit(main())
