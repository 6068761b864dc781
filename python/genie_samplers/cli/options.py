"""Options that several commands share, and the checks of what was given for them. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from .. import grids

__all__ = [
    "COUNT",
    "FILE",
    "POSITIVE",
    "SEED",
    "STEPS",
    "Real",
    "backend_option",
    "batch_size_option",
    "check_device",
    "clip_option",
    "count_option",
    "denoise_option",
    "derivative_option",
    "device_option",
    "fine_option",
    "grid_option",
    "integers",
    "mirror_option",
    "nfe_option",
    "out_option",
    "seed_option",
    "solver_option",
    "split",
]


class Real(click.FloatRange):
    """A finite number in a range; click's own lets NaN and infinities through."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


COUNT = click.IntRange(1, 2**31 - 1)
STEPS = click.IntRange(0, 2**31 - 1)
SEED = click.IntRange(0, 2**64 - 1)
POSITIVE = Real(0.0, min_open=True)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

solver_option = click.option("--solver", default="ipndm", show_default=True, help="A name that `plan --list` prints.")
nfe_option = click.option("--nfe", type=COUNT, default=10, show_default=True, help="Network evaluations per sample.")
grid_option = click.option(
    "--grid", type=click.Choice([*grids.GRIDS, *grids.DISCRETE_GRIDS]), help="Time grid; the solver's own by default."
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
clip_option = click.option(
    "--clip",
    type=POSITIVE,
    help="Keep the clean image that each evaluation predicts within -CLIP..CLIP; off by default.",
)
mirror_option = click.option(
    "--mirror/--no-mirror", default=True, show_default=True,
    help="Mirror every second image of the data, or leave them as they are: text, digits, anything with a left side.",
)  # fmt: skip
seed_option = click.option("--seed", type=SEED, default=0, show_default=True)
device_option = click.option("--device", default="cpu", show_default=True)
batch_size_option = click.option(
    "--batch-size", type=COUNT, default=16, show_default=True,
    help="Images per network call, the last call padded to it: an image has the same bits for any number of images.",
)  # fmt: skip
fine_option = click.option("--fine", type=COUNT, default=200, show_default=True, help="Steps of the fine solution.")
backend_option = click.option("--backend", help="reference, cpu, cuda or triton; the best one by default.")


def count_option(default: int, text: str) -> Callable[[Any], Any]:
    return click.option("--count", type=COUNT, default=default, show_default=True, help=text)


def out_option(name: str) -> Callable[[Any], Any]:
    return click.option("--out", type=click.Path(path_type=Path), default=Path(name), show_default=True)


def check_device(device: str) -> None:
    import torch

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
    """At least 1 each."""
    parts = split(option, text)
    if not all(part.isascii() and part.isdecimal() and int(part[:10]) > 0 and len(part) < 10 for part in parts):
        raise ValueError(f"{option} {text!r}; give integers of 1 or more separated by commas, for example 5,10")
    return [int(part) for part in parts]
