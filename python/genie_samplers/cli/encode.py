"""genie-samplers encode: images to latents and back, and what that loses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import torch
from torch import Tensor

from .. import demo, schedules
from ..demo import data
from ..files import check_target, write_rows
from ..plan import Plan
from ..solvers.make import make_plan
from ..uses.reconstruct import GaussianData, Reconstruction, reconstruct
from . import images
from .fashion import class_number, data_option
from .files import check_keeps_inputs, check_latents_target, read_images, write_latents
from .network import with_derivatives
from .options import (
    FILE,
    SEED,
    backend_option,
    batch_size_option,
    check_device,
    count_option,
    derivative_option,
    device_option,
    grid_option,
    integers,
    out_option,
)

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["encode_command"]

_SHOWN = 8


@click.command("encode")
@click.option(
    "--images", "files", type=FILE, multiple=True,
    help="PNG, or .npy of integers 0..255 or floats -1..1; repeatable. Test images by default.",
)  # fmt: skip
@data_option
@count_option(16, "How many of the first test images.")
@click.option("--solver", default="dpmpp_2m", show_default=True, help="A deterministic one of `plan --list`.")
@click.option("--nfe", "nfes", default="10,20,50", show_default=True, help="Comma-separated evaluations each way.")
@grid_option
@derivative_option
@click.option("--class", "class_name", help="Class name or number 0..9 of all images; none by default.")
@click.option("--seed", type=SEED, help="Noises the images to the first time; as they are by default.")
@batch_size_option
@device_option
@backend_option
@click.option("--latents", type=click.Path(path_type=Path), help="Of the last --nfe that ran, .npy or .safetensors.")
@out_option("encode.png")
def encode_command(
    files: tuple[Path, ...], root: str, count: int, solver: str, nfes: str, grid: str | None, derivative: str | None,
    class_name: str | None, seed: int | None, batch_size: int, device: str, backend: str | None, latents: Path | None,
    out: Path,
) -> None:  # fmt: skip
    """Images to latents and back: a picture, the latents, and the error per dimension as CSV (images in [0, 1])."""
    numbers = integers("--nfe", nfes)
    check_device(device)
    table, latents = out.with_suffix(".csv"), latents or out.with_suffix(".npy")
    images.check_target(out)
    check_target(table, suffix=".csv")
    check_latents_target(latents)
    check_keeps_inputs([out, table, latents], files)
    schedule = schedules.vp_linear()
    options = None if derivative is None else {"derivative": derivative}
    plans = [make_plan(solver, schedule, nfe, grid=grid, direction="encode", options=options) for nfe in numbers]
    number = demo.NULL_CLASS if class_name is None else class_number(class_name)
    originals = read_images(files) if files else torch.from_numpy(data.fashion_mnist("test", root).images[:count])
    model, labels = with_derivatives(demo.embedded_with_head(device), plans[0]), torch.full((len(originals),), number)
    # noised with a seed, else as they are
    start: dict[str, Any] = {"state": originals} if seed is None else {"image": originals, "seed": seed}
    done: list[tuple[Plan, Reconstruction]] = []
    try:
        for plan in plans:
            result = reconstruct(
                model, plan, **start, cond={"class_labels": labels}, batch_size=batch_size, backend=backend
            )
            done.append((plan, result))
            click.echo(f"{solver}, {plan.nfe:4d} evaluations each way: error {result.mse:.2e}")
    finally:  # what ran is kept, whatever stops a later one
        if done:
            ran = ",".join(str(plan.nfe) for plan, _ in done)
            metadata = {"solver": solver, "nfe": ran, "class": number, "seed": seed}
            images.save_png(_page(originals, done), out, metadata)
            write_latents(latents, done[-1][1].latents.cpu())
            _write_report(table, done, None if seed is not None else _rms(originals))
            click.echo(f"{out}, {table} and {latents}: {len(originals)} images")


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
    return reconstruct(GaussianData(plan.schedule, scale), plan, state=one, progress=False).mse
