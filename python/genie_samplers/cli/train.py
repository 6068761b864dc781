"""genie-samplers train: the embedded network from its data."""

from __future__ import annotations

from pathlib import Path

import click

from .. import models, schedules
from ..demo import data
from .options import check_device, data_option, device_option, seed_option

__all__ = ["train_command"]


@click.command("train")
@data_option
@click.option("--run", "folder", type=click.Path(path_type=Path), required=True, help="Checkpoint and loss curve.")
@click.option("--steps", default=8000, show_default=True)
@click.option("--batch-size", default=128, show_default=True)
@click.option("--learning-rate", default=6e-4, show_default=True)
@click.option(
    "--label",
    type=click.Choice(list(models.LABELS)),
    default="log_gamma",
    show_default=True,
    help="What the network takes instead of t.",
)
@seed_option
@device_option
@click.option("--export", "export_to", type=click.Path(path_type=Path), help="Write the averaged fp16 weights here.")
def train_command(
    root: str, folder: Path, steps: int, batch_size: int, learning_rate: float, label: str, seed: int,
    device: str, export_to: Path | None,
) -> None:  # fmt: skip
    """Train the embedded network on Fashion-MNIST; stops and resumes at any time."""
    from ..demo import train

    options = train.TrainingOptions(
        steps=steps, batch_size=batch_size, learning_rate=learning_rate, label=label, seed=seed
    )
    check_device(device)
    if export_to is not None:
        export_to.mkdir(parents=True, exist_ok=True)  # rather fail now than after hours
    trainer = train.Trainer(folder, data.fashion_mnist(root=root), schedules.vp_linear(), options, device)
    trainer.run()
    if export_to is not None:
        train.export(trainer, export_to)
        click.echo(f"{export_to}: averaged weights after {trainer.step} steps")
