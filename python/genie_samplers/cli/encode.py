"""genie-samplers encode: images to latents and back, and what that loses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import torch
from torch import Tensor

from ..files import check_target, write_rows
from ..plan import Plan
from ..solvers.make import make_plan
from ..uses.reconstruct import GaussianData, Reconstruction, reconstruct
from . import images
from .files import check_keeps_inputs, check_latents_target, write_latents
from .network import Chosen, network_options, with_derivatives
from .options import (
    backend_option,
    batch_size_option,
    check_device,
    class_option,
    count_option,
    derivative_option,
    grid_option,
    nfes_option,
    out_option,
    solver_option,
)
from .source import Source, source_options
from .types import SEED

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["encode_command"]

_SHOWN = 8


@click.command("encode")
@network_options
@source_options
@count_option(16, "How many of the data set; of --images all.")
@solver_option("dpmpp_2m", "A deterministic one of `plan --list`.")
@nfes_option("10,20,50", "Network evaluations each way, separated by commas.")
@grid_option
@derivative_option
@class_option
@click.option("--seed", type=SEED, help="Noises the images to the first time; as they are by default.")
@batch_size_option
@backend_option
@click.option(
    "--latents", type=click.Path(path_type=Path),
    help="Where the latents of the last --nfe that ran go, .npy or .safetensors; by default beside --out.",
)  # fmt: skip
@out_option("encode.png", "The picture; the errors go into a .csv of the same name.")
def encode_command(
    chosen: Chosen, source: Source, count: int, solver: str, nfes: tuple[int, ...], grid: str | None,
    derivative: str | None, class_name: str | None, seed: int | None, batch_size: int, backend: str | None,
    latents: Path | None, out: Path,
) -> None:  # fmt: skip
    """Images to latents and back: a picture, the latents, and the error per dimension as CSV (images in [0, 1])."""
    check_device(chosen.device)
    table, latents = out.with_suffix(".csv"), latents or out.with_suffix(".npy")
    images.check_target(out)
    check_target(table, suffix=".csv", name="--out")
    check_latents_target(latents)
    check_keeps_inputs([out, table, latents], source.paths)
    chosen.picture_shape(1)
    options = None if derivative is None else {"derivative": derivative}
    plans = [
        make_plan(
            solver, chosen.schedule, nfe, grid=grid, prediction=chosen.prediction, direction="encode", options=options
        )
        for nfe in nfes
    ]
    number = None if class_name is None else chosen.class_number(class_name)
    pictures = source.load(chosen, "all", count)
    originals = torch.from_numpy(pictures.images)
    model = with_derivatives(chosen.with_head(chosen.load()), plans[0])
    # noised with a seed, else as they are
    start: dict[str, Any] = {"state": originals} if seed is None else {"image": originals, "seed": seed}
    done: list[tuple[Plan, Reconstruction]] = []
    try:
        for plan in plans:
            cond = chosen.same_class(len(originals), number)
            result = reconstruct(model, plan, **start, cond=cond, batch_size=batch_size, backend=backend)
            done.append((plan, result))
            click.echo(f"{solver}, {plan.nfe:4d} evaluations each way: error {result.mse:.2e}")
    finally:  # what ran is kept, whatever stops a later one
        if done:
            ran = ",".join(str(plan.nfe) for plan, _ in done)
            metadata = {"solver": solver, "nfe": ran, "class": number, "seed": seed, "data": pictures.source}
            images.save_png(_page(originals, done), out, metadata)
            write_latents(latents, done[-1][1].latents.cpu())
            _write_report(table, done, None if seed is not None else _rms(originals))
            click.echo(f"{out}, {table} and {latents}: {len(originals)} images ({pictures.source})")


def _rms(x: Tensor) -> float:
    return float(x.double().square().mean().sqrt())


def _page(originals: Tensor, done: list[tuple[Plan, Reconstruction]]) -> Image:
    rows = [originals, *(result.images for _, result in done)]
    labels = ["images", *(f"{plan.nfe} + {plan.nfe} evaluations" for plan, _ in done)]
    pixels = [list(images.to_pixels(row[:_SHOWN].cpu().numpy())) for row in rows]
    return images.labelled_table(pixels, labels, [""] * len(pixels[0]))


def _write_report(path: Path, done: list[tuple[Plan, Reconstruction]], scale: float | None) -> None:
    """Beside the network's errors those on Gaussian data of rms ``scale``, where the network is exact.

    scale: None for noised images, whose error is that of the noise too: nothing to compare with, the column is empty,
    as it is for plans that read derivatives.
    """
    lines: list[tuple[object, ...]] = [("solver", "nfe", "mse", "latent_rms", "gaussian_mse")]
    for plan, result in done:
        name = "" if plan.recipe is None else plan.recipe.solver
        exact = "" if scale is None or len(plan.outputs) > 1 else f"{_gaussian_mse(plan, scale):.3e}"
        lines.append((name, plan.nfe, f"{result.mse:.3e}", f"{result.latent_rms:.4f}", exact))
    write_rows(path, lines)


def _gaussian_mse(plan: Plan, scale: float) -> float:
    one = torch.full((1, 1), scale, dtype=torch.float64)
    data = GaussianData(plan.schedule, scale, prediction=plan.outputs[0])
    return reconstruct(data, plan, state=one, progress=False).mse
