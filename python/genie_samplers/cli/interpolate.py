"""genie-samplers interpolate: a grid of images between four latents."""

from __future__ import annotations

from pathlib import Path

import click
import torch
from torch import Tensor

from genie_ext import Noise, normal_fill

from ..run.inputs import signed_seed
from ..run.sample import sample
from ..solvers.make import make_plan
from ..uses.interpolate import slerp_grid
from . import images
from .files import check_keeps_inputs, read_latents
from .network import Chosen, network_options
from .options import (
    backend_option,
    batch_size_option,
    check_device,
    class_option,
    clip_option,
    grid_option,
    nfe_option,
    out_option,
    seed_option,
    solver_option,
)
from .types import FILE

__all__ = ["interpolate_command"]

_SIDE = click.IntRange(2, 1000)


@click.command("interpolate")
@network_options
@click.option("--latents", "file", type=FILE, help="From `encode`, the first four; samples 0..3 of --seed by default.")
@click.option("--rows", type=_SIDE, default=5, show_default=True, help="Images from top to bottom.")
@click.option("--columns", type=_SIDE, default=9, show_default=True, help="Images from left to right.")
@class_option
@solver_option()
@nfe_option
@grid_option
@clip_option
@seed_option("Of the latents in the corners, where --latents gives none.")
@batch_size_option
@backend_option
@out_option("interpolate.png", "The picture.")
def interpolate_command(
    chosen: Chosen, file: Path | None, rows: int, columns: int, class_name: str | None, solver: str, nfe: int,
    grid: str | None, clip: float | None, seed: int, batch_size: int, backend: str | None, out: Path,
) -> None:  # fmt: skip
    """Images along great circles between the latents in the corners, as one PNG."""
    check_device(chosen.device)
    images.check_target(out)
    check_keeps_inputs([out], [] if file is None else [file])
    _, *shape = chosen.picture_shape(4)
    plan = make_plan(solver, chosen.schedule, nfe, grid=grid, prediction=chosen.prediction, clip=clip)
    if plan.init.distribution != "normal":
        raise ValueError(f"solver={solver!r}: starts in {plan.init.distribution} noise, without great circles")
    number = None if class_name is None else chosen.class_number(class_name)
    corners = (
        _noise(seed, plan.init.scale, (4, *shape))
        if file is None
        else read_latents(file, (shape[0], shape[1], shape[2]))[:4]
    )
    states = slerp_grid(corners, rows, columns)
    cond = chosen.same_class(len(states), number)
    model = chosen.with_head(chosen.load())
    x = sample(model, plan, state=states, cond=cond, batch_size=batch_size, backend=backend)
    pixels = images.to_pixels(x.cpu().numpy())
    source = f"seed {seed}" if file is None else str(file)
    metadata = {"latents": source, "solver": solver, "nfe": nfe, "class": number}
    line = f"{solver}, {nfe} evaluations, {chosen.class_label(number)}, {source}"
    images.save_png(images.captioned(pixels, columns, line), out, metadata)
    click.echo(f"{out}: {rows} x {columns} images between four latents ({source})")


def _noise(seed: int, scale: float, shape: tuple[int, ...]) -> Tensor:
    """What ``sample`` starts from for the samples 0..3 of this seed; shape: [4, ...]."""
    noise = Noise(torch.tensor([signed_seed(seed)]), torch.arange(4), stream=0)
    return scale * normal_fill(torch.empty(shape), noise=noise, draw=0)
