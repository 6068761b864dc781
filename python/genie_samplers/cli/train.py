"""genie-samplers train: a network like the embedded one, or one that is there already."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np

from ..demo.data import LabelledImages
from ..files import check_folder, require
from .network import Chosen, network_options
from .options import check_device, export_option, mirror_option, run_option, seed_option
from .source import Pictures, Source, source_options
from .types import COUNT, POSITIVE, STEPS

__all__ = ["train_command"]


class Beginning(Chosen):
    """Where training begins: a new network takes any schedule, prediction and label; the embedded one's by default."""

    def check(self) -> None:
        """Nothing contradicts a network that is still to be trained."""

    @property
    def name(self) -> str:
        return "a new network" if self.folder is None else super().name

    @property
    def known_label(self) -> str:
        """A name in ``models.LABELS``."""
        return self.label_name or self.found.label or "schedule"


@click.command("train")
@network_options(kind=Beginning, default="a new network like the embedded one")
@source_options
@run_option()
@click.option("--steps", type=STEPS, default=8000, show_default=True, help="Of the whole run, resumed ones included.")
@click.option("--batch-size", type=COUNT, default=128, show_default=True, help="Images of a step.")
@click.option("--learning-rate", type=POSITIVE, default=6e-4, show_default=True, help="At its largest.")
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16"]),
    help="Of the network's products. By default bfloat16 where the device has instructions for it, else float32; of a "
    "run that is resumed, its own.",
)
@mirror_option
@seed_option("Of the first weights and of all that is drawn.")
@export_option("Write the averaged fp16 weights into this folder, for --network.")
def train_command(chosen: Beginning, source: Source, run_folder: Path, export_to: Path | None, **others: Any) -> None:
    """Train a network like the embedded one, or go on training another; stops and resumes at any time."""
    from ..demo import train

    check_device(chosen.device)
    require("training", "diffusers", "safetensors", extra="diffusers")
    check_folder(run_folder, name="--run")
    if export_to is not None:
        require("the picture of the losses", "matplotlib", extra="cli")
        check_folder(export_to, name="--export")  # rather fail now than after hours
    schedule, given = chosen.schedule, source.load(chosen, "train")
    options = train.TrainingOptions(
        label=chosen.known_label,
        prediction=chosen.prediction,
        about=f"{chosen.about}, on {given.source}",
        input=train.network_input(schedule) if chosen.folder is None else chosen.found.input,
        **others,
    )
    null = None if chosen.classes is None else chosen.null()["class_labels"]
    network: Any = None if chosen.folder is None else chosen.load().network
    trainer = train.Trainer(
        run_folder, _labelled(given, null), schedule, options, chosen.device, network=network, null_class=null
    )
    trainer.run()
    if export_to is not None:
        train.export(trainer, export_to)
        click.echo(f"{export_to}: averaged weights after {trainer.step} steps")


def _labelled(given: Pictures, null: int | None) -> LabelledImages:
    """Images that have no class are of the class of none."""
    none = np.full(len(given.images), 0 if null is None else null, np.int64)
    return LabelledImages(given.images, none if given.labels is None else given.labels)
