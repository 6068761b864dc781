"""genie-samplers train: the embedded network from its data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .. import models, schedules
from ..demo import data
from ..files import check_folder, require
from .fashion import data_option
from .options import COUNT, POSITIVE, STEPS, check_device, device_option, mirror_option, seed_option

__all__ = ["train_command"]


@click.command("train")
@data_option
@click.option("--run", "folder", type=click.Path(path_type=Path), required=True, help="Checkpoint and loss curve.")
@click.option("--steps", type=STEPS, default=8000, show_default=True)
@click.option("--batch-size", type=COUNT, default=128, show_default=True)
@click.option("--learning-rate", type=POSITIVE, default=6e-4, show_default=True)
@click.option(
    "--label",
    type=click.Choice(list(models.LABELS)),
    default="log_gamma",
    show_default=True,
    help="What the network takes instead of t.",
)
@mirror_option
@seed_option
@device_option
@click.option("--export", "export_to", type=click.Path(path_type=Path), help="Write the averaged fp16 weights here.")
def train_command(root: str, folder: Path, device: str, export_to: Path | None, **chosen: Any) -> None:
    """Train the embedded network on Fashion-MNIST; stops and resumes at any time."""
    from ..demo import train

    options = train.TrainingOptions(**chosen)
    check_device(device)
    require("training", "diffusers", "safetensors", extra="diffusers")
    check_folder(folder, name="run")
    if export_to is not None:
        require("the picture of the losses", "matplotlib", extra="cli")
        check_folder(export_to, name="export")  # rather fail now than after hours
    trainer = train.Trainer(folder, data.fashion_mnist(root=root), schedules.vp_linear(), options, device)
    trainer.run()
    if export_to is not None:
        train.export(trainer, export_to)
        click.echo(f"{export_to}: averaged weights after {trainer.step} steps")
