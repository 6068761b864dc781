"""genie-samplers interpolate: a grid of images between four latents."""

from __future__ import annotations

from pathlib import Path

import click
import torch
from torch import Tensor

from genie_ext import Noise, normal_fill

from .. import demo, schedules
from ..run.inputs import signed_seed
from ..run.sample import sample
from ..solvers.make import make_plan
from ..uses.interpolate import slerp_grid
from . import images
from .fashion import IMAGE_SHAPE, class_number
from .files import check_keeps_inputs, read_latents
from .options import (
    FILE,
    backend_option,
    batch_size_option,
    check_device,
    device_option,
    grid_option,
    nfe_option,
    out_option,
    seed_option,
    solver_option,
)

__all__ = ["interpolate_command"]

_SIDE = click.IntRange(2, 1000)


@click.command("interpolate")
@click.option("--latents", "file", type=FILE, help="From `encode`, the first four; samples 0..3 of --seed by default.")
@click.option("--rows", type=_SIDE, default=5, show_default=True)
@click.option("--columns", type=_SIDE, default=9, show_default=True)
@click.option("--class", "class_name", help="Class name or number 0..9 of every image; none by default.")
@solver_option
@nfe_option
@grid_option
@seed_option
@batch_size_option
@device_option
@backend_option
@out_option("interpolate.png")
def interpolate_command(
    file: Path | None, rows: int, columns: int, class_name: str | None, solver: str, nfe: int, grid: str | None,
    seed: int, batch_size: int, device: str, backend: str | None, out: Path,
) -> None:  # fmt: skip
    """Images along great circles between the latents in the corners, as one PNG."""
    check_device(device)
    images.check_target(out)
    check_keeps_inputs([out], [] if file is None else [file])
    plan = make_plan(solver, schedules.vp_linear(), nfe, grid=grid)
    number = demo.NULL_CLASS if class_name is None else class_number(class_name)
    corners = _noise(seed, plan.init.scale) if file is None else read_latents(file)[:4]
    states = slerp_grid(corners, rows, columns)
    classes = torch.full((len(states),), number)
    x = sample(
        demo.embedded_with_head(device), plan, state=states, cond={"class_labels": classes}, batch_size=batch_size,
        backend=backend,
    )  # fmt: skip
    pixels = images.to_pixels(x.cpu().numpy())
    source = f"seed {seed}" if file is None else str(file)
    metadata = {"latents": source, "solver": solver, "nfe": nfe, "class": number}
    images.save_png(images.grid(pixels, columns=columns), out, metadata, zoom=2)
    click.echo(f"{out}: {rows} x {columns} images between four latents ({source})")


def _noise(seed: int, scale: float) -> Tensor:
    """What ``sample`` starts from for the samples 0..3 of this seed."""
    noise = Noise(torch.tensor([signed_seed(seed)]), torch.arange(4), stream=0)
    return scale * normal_fill(torch.empty(4, *IMAGE_SHAPE), noise=noise, draw=0)
