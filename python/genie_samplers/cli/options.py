"""Options that several commands share, and the checks of what was given for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import torch

from .. import grids
from ..demo import data

__all__ = [
    "FILE",
    "IMAGE_SHAPE",
    "backend_option",
    "batch_size_option",
    "check_device",
    "check_run",
    "class_number",
    "data_option",
    "denoise_option",
    "derivative_option",
    "device_option",
    "grid_option",
    "integers",
    "nfe_option",
    "out_option",
    "seed_option",
    "solver_option",
    "split",
]

IMAGE_SHAPE = (1, 28, 28)  # of the embedded network
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

solver_option = click.option("--solver", default="ipndm", show_default=True, help="A name that `plan --list` prints.")
nfe_option = click.option("--nfe", default=10, show_default=True, help="Network evaluations per sample.")
grid_option = click.option(
    "--grid", type=click.Choice(list(grids.GRIDS)), help="Time grid; the solver's own by default."
)
denoise_option = click.option(
    "--denoise/--no-denoise",
    default=None,
    help="Let the last evaluation step to gamma = 0, or not; the solver's habit by default.",
)
derivative_option = click.option(
    "--derivative", type=click.Choice(["correction", "exact"]),
    help="Of the genie solvers: by the distilled head, their default for sampling, or by differentiating the network.",
)  # fmt: skip
seed_option = click.option("--seed", default=0, show_default=True)
device_option = click.option("--device", default="cpu", show_default=True)
batch_size_option = click.option(
    "--batch-size", default=16, show_default=True,
    help="Images per network call, the last call padded to it: an image has the same bits for any number of images.",
)  # fmt: skip
data_option = click.option(
    "--data", "root", default=str(data.DEFAULT_ROOT), show_default=True, help="Folder of the IDX files."
)
backend_option = click.option("--backend", help="reference, cpu, cuda or triton; the best one by default.")


def out_option(name: str) -> Callable[[Any], Any]:
    return click.option("--out", type=click.Path(path_type=Path), default=Path(name), show_default=True)


def class_number(name: str) -> int:
    if name.isdecimal() and int(name) < len(data.CLASS_NAMES):
        return int(name)
    lowered = [n.lower() for n in data.CLASS_NAMES]
    if name.lower() not in lowered:
        raise ValueError(f"--class {name!r}; choose 0..9 or one of {', '.join(data.CLASS_NAMES)}")
    return lowered.index(name.lower())


def check_run(count: int, device: str) -> None:
    if count < 1:
        raise ValueError(f"--count {count}; need at least 1 image")
    check_device(device)


def check_device(device: str) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        reason = str(error).splitlines()[0]
        raise ValueError(f"--device {device}: {reason}; choose one that torch has here, such as cpu") from error


def split(option: str, text: str) -> list[str]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise ValueError(f"{option} {text!r}; give one or more, separated by commas")
    return parts


def integers(option: str, text: str) -> list[int]:
    try:
        return [int(part) for part in split(option, text)]
    except ValueError as error:
        raise ValueError(f"{option} {text!r}; give integers separated by commas, for example 5,10") from error
