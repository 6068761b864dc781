"""genie-samplers distill: a GENIE head for the embedded network or for one of the user's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import torch
import torch.distributed as dist

from genie_ext.ops.jvp_distill_loss import WEIGHTINGS

from .. import genie
from ..files import check_folder, require, write_text
from ..genie.distillation.data import Data
from ..genie.distillation.distill import fitting_config
from ..genie.distillation.memory import fitting_chunk_size
from ..grids import GRIDS
from .network import Chosen, network_options
from .options import check_device, export_option, mirror_option, nfes_option, run_option, seed_option
from .source import Pictures, Source, source_options
from .types import COUNT, POSITIVE, STEPS, Integers, Names

__all__ = ["distill_command"]

_LATENTS, _TRAJECTORIES = 20, 8  # of the report


@click.command("distill")
@network_options
@source_options
@run_option()
@click.option("--steps", type=STEPS, default=2000, show_default=True, help="Of the training.")
@click.option("--batch-size", type=COUNT, default=64, show_default=True, help="Samples of a step.")
@click.option(
    "--chunk-size", type=COUNT, default=16, show_default=True, help="Of them at once; a process takes whole chunks."
)
@click.option("--memory", type=COUNT, default=2048, show_default=True, help="MiB; chunks are made smaller to fit.")
@click.option("--learning-rate", type=POSITIVE, default=1e-3, show_default=True, help="At its largest.")
@click.option("--width", type=COUNT, help="Channels of the head; those of the last feature map by default.")
@click.option(
    "--target",
    type=click.Choice(["step", "pointwise"]),
    default="step",
    show_default=True,
    help="What steps lack, of every --values, --nfe and --grid; or the derivative itself.",
)
@click.option(
    "--values", type=Integers(), default="1,2,3", show_default=True,
    help="Predictions that a step's polynomial goes through, separated by commas.",
)  # fmt: skip
@nfes_option("15,20,24", "Evaluations of the solvers whose steps are learned, and their divisors from 5 on.")
@click.option(
    "--grid", "grids", type=Names(GRIDS, "grid"), default="karras,uniform_t", show_default=True,
    help="Grids of those solvers, separated by commas; with --target step.",
)  # fmt: skip
@click.option(
    "--trajectories", type=COUNT, default=64, show_default=True, help="In a pool, for every --nfe and --grid."
)
@click.option(
    "--forced-steps", type=STEPS, default=1000, show_default=True,
    help="Then the head learns from solvers that it leads itself.",
)  # fmt: skip
@click.option("--pool-steps", type=COUNT, default=500, show_default=True, help="Steps until the pool is made anew.")
@click.option("--gamma-max", type=POSITIVE, help="Largest gamma of --target pointwise; the schedule's by default.")
@click.option(
    "--weighting",
    type=click.Choice(list(WEIGHTINGS)),
    default="one_plus_gamma2",
    show_default=True,
    help="Of the loss, by gamma.",
)
@mirror_option
@seed_option("Of the head's first weights and of all that is drawn.")
@export_option("Write genie_head/ into this folder.")
def distill_command(
    chosen: Chosen, source: Source, run_folder: Path, batch_size: int, chunk_size: int, memory: int, mirror: bool,
    export_to: Path | None, **others: Any,
) -> None:  # fmt: skip
    """Distill a head; stops and resumes at any time, alone or under torchrun. Ends with a report, PNG and CSV."""
    with _process(chosen.device) as device:
        chosen = replace(chosen, device=device)
        check_device(device)
        require("the report's picture", "matplotlib", extra="cli")
        check_folder(run_folder, name="--run")
        if export_to is not None:
            check_folder(export_to, name="--export")  # rather fail now than after hours
        about = chosen.about
        given = [source.load(chosen, split) for split in ("train", "test")]
        training, held_out = (_data(chosen, pictures, mirror=mirror) for pictures in given)
        options = genie.DistillOptions(
            batch_size=batch_size, chunk_size=min(chunk_size, batch_size),
            about=f"{about}, on {given[0].source}", **others,
        )  # fmt: skip
        model = chosen.load()
        fitting_config(model, training, options)  # before the network runs
        one = genie.bytes_per_sample(model, training.images[:1].to(device), {})
        fitting = fitting_chunk_size(batch_size, options.chunk_size, one, memory * 2**20)
        options = replace(options, chunk_size=fitting)
        run = genie.Distiller(run_folder, model, training, options)
        run.run()
        if run.rank > 0:
            return
        head = run.averaged()
        # before the report, which may fail
        written = None if export_to is None else genie.save_head(head, export_to, model=model)
        found = _report(genie.with_head(model, head), held_out, options)
        found.save(run_folder / "report.png")
        click.echo(str(found))
        if written is not None:
            write_text(written / "README.md", genie.card(head, options, found))
            click.echo(f"{written}: the averaged head after {run.step} steps")


def _report(headed: genie.HeadedModel, held_out: Data, options: genie.DistillOptions) -> genie.HeadReport:
    count = min(_LATENTS, 4 * options.chunk_size)  # four plain passes take no more memory than one with derivatives
    cond = {name: torch.arange(count) % int(null) for name, null in held_out.null.items()}
    few = replace(options, trajectories=min(_TRAJECTORIES, options.trajectories))
    targets = genie.targets_of(headed.model, headed.head.config, held_out, few, options.seed + 1)
    shape = (count, *held_out.images.shape[1:])
    return genie.report(headed, targets, shape=shape, cond=cond)


def _data(chosen: Chosen, given: Pictures, *, mirror: bool) -> Data:
    """The images with their classes; of none where they have none, or the network knows none."""
    images = torch.from_numpy(given.images)
    if given.labels is None or chosen.classes is None:
        return Data(images, {}, {}, mirror=mirror)
    return Data(images, {"class_labels": torch.from_numpy(given.labels)}, chosen.null(), mirror=mirror)


@contextmanager
def _process(device: str) -> Iterator[str]:
    """The device of this process; under torchrun one of several, which are joined for the length of the block."""
    if "WORLD_SIZE" not in os.environ:
        yield device
        return
    cuda = device.startswith("cuda")
    dist.init_process_group("nccl" if cuda else "gloo")
    try:
        yield f"cuda:{os.environ['LOCAL_RANK']}" if cuda else device
    finally:
        dist.destroy_process_group()
