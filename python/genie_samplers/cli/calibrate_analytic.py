"""genie-samplers calibrate analytic: the statistics that analytic_ddpm and analytic_ddim need."""

from __future__ import annotations

from pathlib import Path

import click
import torch

from ..calibrate.analytic import analytic
from ..files import check_target
from .network import Chosen, network_options
from .options import batch_size_option, check_device, count_option, out_option, seed_option
from .source import Source, source_options

__all__ = ["analytic_command"]


@click.command("analytic")
@network_options
@source_options
@count_option(200, "Images of the data, the more the better: 1,000 and more were published.")
@click.option(
    "--nodes", type=click.IntRange(2, 10**6), default=20, show_default=True, help="Times, evenly spaced in log gamma."
)
@click.option("--residual", is_flag=True, help="Of the network's errors in place of its predictions: less noise.")
@seed_option("Of the noise that is added to the images.")
@batch_size_option
@out_option("statistics.json", "The statistics, for `sample --solver analytic_ddpm --statistics`.")
def analytic_command(
    chosen: Chosen, source: Source, count: int, nodes: int, residual: bool, seed: int, batch_size: int, out: Path
) -> None:
    """Measure how much of the noise a network explains at every time: one evaluation of each image at each time."""
    check_device(chosen.device)
    check_target(out, suffix=".json", name="--out")
    pictures = source.load(chosen, "train", count)
    images = torch.from_numpy(pictures.images[:count])
    cond = {}
    if pictures.labels is not None:
        cond = {"class_labels": torch.from_numpy(pictures.labels[:count])}
    model = chosen.load()
    found = analytic(
        model, model.schedule, images, nodes=nodes, residual=residual, seed=seed, cond=cond,
        prediction=model.outputs[0], batch_size=batch_size,
    )  # fmt: skip
    found.save(out)
    for t, ms_eps in zip(found.times, found.ms_eps, strict=True):
        click.echo(f"  gamma {float(found.schedule.gamma(t)):10.4g}  ms_eps {ms_eps:.5f}")
    click.echo(f"{out}: {len(images)} images of {pictures.source}, {len(found.times)} times")
