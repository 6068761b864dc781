"""genie-samplers calibrate tdas: a noise filter for accelerated sampling, from samples."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from ..files import check_target, require
from ..models import WrappedModel
from ..run import sample
from ..solvers.make import make_plan
from ..tdas.calibrate import LEAST_SAMPLES, calibrate
from ..tdas.picture import write_picture
from .files import read_images
from .network import Chosen, network_options
from .options import batch_size_option, check_device, count_option, out_option, seed_option, solver_option
from .source import Source, source_options
from .types import COUNT, FILE, Real

__all__ = ["tdas_command"]

_QUANTILE = Real(0.5, 1.0)


@click.command("tdas")
@network_options
@source_options
@solver_option("ddpm", "What makes the samples, a stochastic one; a name of `plan --list`.")
@click.option("--full-nfe", type=COUNT, default=200, show_default=True, help="Evaluations of the samples to match.")
@click.option("--nfe", type=COUNT, default=20, show_default=True, help="Evaluations of the samples to accelerate.")
@click.option("--full-samples", type=FILE, help="A .npy of samples in -1..1 in place of --full-nfe.")
@click.option("--samples", "fast_samples", type=FILE, help="A .npy of samples in -1..1 in place of --nfe.")
@count_option(200, "Samples of either kind, 50 or more.")
@click.option("--transform", type=click.Choice(["dft", "dct"]), default="dft", show_default=True, help="Of the filter.")
@click.option("--q1", type=_QUANTILE, default=0.8, show_default=True, help="Quantile of the middle zone.")
@click.option("--q2", type=_QUANTILE, default=0.96, show_default=True, help="Quantile of the outer zone.")
@click.option(
    "--amplify/--attenuate", default=None,
    help="Whether to add noise at high frequencies or to take it away; by default what the samples say.",
)  # fmt: skip
@click.option(
    "--space-alpha",
    type=Real(1.0),
    help="Also a space filter of the pictures of --images or --data, softened by so much; 2 to 5 are sensible.",
)
@seed_option("Of the samples.")
@batch_size_option
@out_option("tdas.json", "The filter; its numbers go into a .safetensors, its picture into a .png of the same name.")
def tdas_command(
    chosen: Chosen, source: Source, solver: str, full_nfe: int, nfe: int, full_samples: Path | None,
    fast_samples: Path | None, count: int, transform: str, q1: float, q2: float, amplify: bool | None,
    space_alpha: float | None, seed: int, batch_size: int, out: Path,
) -> None:  # fmt: skip
    """Compare accelerated samples with full ones, frequency by frequency, and make the noise filter that undoes it."""
    check_device(chosen.device)
    require("the picture of calibrate tdas", "matplotlib", extra="cli")
    check_target(out, suffix=".json", name="--out")
    _check(None if full_samples and fast_samples else count, q1, q2)
    model = None if full_samples and fast_samples else chosen.load()
    full, fast = (
        _samples(chosen, model, file, solver, steps, count, seed, batch_size)
        for file, steps in ((full_samples, full_nfe), (fast_samples, nfe))
    )
    images = None if space_alpha is None else source.load(chosen, "train", count).images
    found = calibrate(
        full, fast, transform=transform, q1=q1, q2=q2, amplify=amplify, images=images, alpha=space_alpha or 2.0
    )
    found.spec.save(out)
    write_picture(found, out.with_suffix(".png"))
    about = found.spec.about
    zones = ", ".join(f"{name} {about[name]:.3f}" for name in ("lambda1", "lambda2", "r1", "r2"))
    effect = "amplifies" if found.amplifies else "attenuates"
    click.echo(f"{out}: {effect} high frequencies, {zones}; noise energy {found.spec.noise_energy:.3f}")


def _check(count: int | None, q1: float, q2: float) -> None:
    """ValueError for what :func:`calibrate` would refuse after all the samples are made, ``count`` of them."""
    if count is not None and count < LEAST_SAMPLES:
        raise ValueError(f"--count {count}: give {LEAST_SAMPLES} samples of either kind or more, 200 as published")
    if not q1 <= q2 < 1.0:
        raise ValueError(f"--q1 {q1:g} --q2 {q2:g}: need q1 <= q2 < 1")


def _samples(
    chosen: Chosen, model: WrappedModel | None, file: Path | None, solver: str, nfe: int, count: int, seed: int,
    batch_size: int,
) -> NDArray[np.floating]:  # fmt: skip
    """Read from a file, or made."""
    if file is not None or model is None:
        _, *size = chosen.shape(1)
        return read_images([file] if file else [], (size[0], size[1], size[2]))
    plan = make_plan(solver, chosen.schedule, nfe, prediction=chosen.prediction)
    click.echo(f"{count} samples of {solver}, {nfe} evaluations")
    made = sample(
        model, plan, shape=chosen.shape(count), seed=seed, cond=chosen.cond(range(count)), batch_size=batch_size
    )
    return made.cpu().numpy()
