"""genie-samplers distill: a GENIE head for the embedded network or for one of the user's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
import torch.distributed as dist

from genie_ext.ops.jvp_distill_loss import WEIGHTINGS

from .. import genie
from ..demo import data
from ..files import check_folder, require, write_text
from ..genie.distillation.data import Data
from ..genie.distillation.distill import fitting_config
from ..genie.distillation.memory import fitting_chunk_size
from ..models.wrap import WrappedModel
from .fashion import data_option
from .files import read_array
from .network import Chosen, network_options
from .options import COUNT, FILE, POSITIVE, STEPS, check_device, integers, mirror_option, seed_option, split

__all__ = ["distill_command"]

_LATENTS, _TRAJECTORIES = 20, 8  # of the report


@click.command("distill")
@network_options
@data_option
@click.option("--images", "file", type=FILE, help="A .npy of floats [N, C, H, W] in [-1, 1], in place of --data.")
@click.option("--run", "run_folder", type=click.Path(path_type=Path), required=True, help="Checkpoint and report.")
@click.option("--steps", type=STEPS, default=2000, show_default=True)
@click.option("--batch-size", type=COUNT, default=64, show_default=True, help="Samples of a step.")
@click.option(
    "--chunk-size", type=COUNT, default=16, show_default=True, help="Of them at once; a process takes whole chunks."
)
@click.option("--memory", type=COUNT, default=2048, show_default=True, help="MiB; chunks are made smaller to fit.")
@click.option("--learning-rate", type=POSITIVE, default=1e-3, show_default=True)
@click.option("--width", type=COUNT, help="Channels of the head; those of the last feature map by default.")
@click.option(
    "--target",
    type=click.Choice(["step", "pointwise"]),
    default="step",
    show_default=True,
    help="What steps lack, of every --values, --nfe and --grid; or the derivative itself.",
)
@click.option("--values", default="1,2,3", show_default=True, help="Predictions that a step's polynomial goes through.")
@click.option(
    "--nfe", "nfes", default="15,20,24", show_default=True, help="Of the steps, and their divisors from 5 on."
)
@click.option("--grid", "grids", default="karras,uniform_t", show_default=True, help="With --target step.")
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
@seed_option
@click.option("--export", "export_to", type=click.Path(path_type=Path), help="Write genie_head/ into this folder.")
def distill_command(
    chosen: Chosen, root: str, file: Path | None, run_folder: Path, batch_size: int, chunk_size: int, memory: int,
    values: str, nfes: str, grids: str, mirror: bool, export_to: Path | None, **others: Any,
) -> None:  # fmt: skip
    """Distill a head; stops and resumes at any time, alone or under torchrun. Ends with a report, PNG and CSV."""
    with _process(chosen.device) as device:
        chosen = replace(chosen, device=device)
        check_device(device)
        require("the report's picture", "matplotlib", extra="cli")
        check_folder(run_folder, name="run")
        if export_to is not None:
            check_folder(export_to, name="export")  # rather fail now than after hours
        numbers = {"values": tuple(integers("--values", values)), "nfes": tuple(integers("--nfe", nfes))}
        model = chosen.load().model
        training, held_out = (_images(model, root, file, split, mirror=mirror) for split in ("train", "test"))
        options = genie.DistillOptions(
            batch_size=batch_size, chunk_size=min(chunk_size, batch_size),
            about=f"{chosen.name}, {model.schedule}, {chosen.prediction}, label {chosen.label_name or 'by default'}",
            grids=tuple(split("--grid", grids)), **numbers, **others,
        )  # fmt: skip
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


def _images(model: WrappedModel, root: str, file: Path | None, split: str, *, mirror: bool) -> Data:
    """The images to learn from, or to report on: a file's, of both, or Fashion-MNIST's, with their classes."""
    classes = model.defaults.get("class_labels")
    if file is not None:
        values = read_array(file)
        if values.ndim != 4 or values.dtype.kind != "f":
            raise ValueError(f"--images {file}: {values.dtype} {values.shape}; need floats [N, C, H, W]")
        return Data(torch.from_numpy(values.astype(np.float32)), {}, {}, mirror=mirror)
    found = data.fashion_mnist(split, root)
    images, labels = torch.from_numpy(found.images), torch.from_numpy(found.labels)
    if classes is None:
        return Data(images, {}, {}, mirror=mirror)
    last = int(classes)  # type: ignore[call-overload]
    if int(labels.max()) >= last:
        raise ValueError(
            f"--data: has classes 0..{labels.max()}, and of no class is the network's {last}; give --images"
        )
    return Data(images, {"class_labels": labels}, {"class_labels": last}, mirror=mirror)


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
