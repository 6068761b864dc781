"""Options that several commands share, in the same words, and what they mean. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from .. import grids, schedules
from ..schedules import Schedule
from ..solvers.make import AUTO_NAME, CALIBRATED_NAME
from ..solvers.registry import SOLVERS, SPELLINGS
from .types import COUNT, POSITIVE, SEED, Integers, Names, Solver

__all__ = [
    "SCHEDULES",
    "backend_option",
    "batch_size_option",
    "check_device",
    "class_option",
    "clip_option",
    "count_option",
    "denoise_option",
    "derivative_option",
    "device_option",
    "export_option",
    "fine_option",
    "grid_option",
    "mirror_option",
    "nfe_option",
    "nfes_option",
    "out_option",
    "page_option",
    "run_option",
    "schedule_option",
    "seed_option",
    "solver_option",
    "solvers_option",
]

SCHEDULES: dict[str, Callable[[], Schedule]] = {
    "vp_linear": schedules.vp_linear,
    "vp_cosine": schedules.vp_cosine,
    "sub_vp": schedules.sub_vp,
    "edm": schedules.edm,
    "ve": schedules.ve,
    "flow": schedules.flow,
    "linear_betas": lambda: schedules.from_betas(schedules.linear_betas()),
    "scaled_linear_betas": lambda: schedules.from_betas(schedules.scaled_linear_betas()),
    "squaredcos_betas": lambda: schedules.from_betas(schedules.squaredcos_betas()),
}

_BACKENDS = ("reference", "cpu", "cuda", "triton")

nfe_option = click.option("--nfe", type=COUNT, default=10, show_default=True, help="Network evaluations per sample.")
grid_option = click.option(
    "--grid",
    type=click.Choice([*grids.GRIDS, *grids.DISCRETE_GRIDS]),
    help="Time grid; that of the best score by default. Those after shifted_t need a table or a flow schedule.",
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
device_option = click.option(
    "--device", default="cpu", show_default=True, help="Where the network runs, as torch names it: cpu, cuda, cuda:1."
)
batch_size_option = click.option(
    "--batch-size", type=COUNT, default=16, show_default=True,
    help="Images per network call, the last call padded to it: an image has the same bits for any number of images.",
)  # fmt: skip
fine_option = click.option("--fine", type=COUNT, default=200, show_default=True, help="Steps of the fine solution.")
backend_option = click.option(
    "--backend", type=click.Choice(_BACKENDS), help="What runs the sampler's rows; the best one here by default."
)
class_option = click.option(
    "--class", "class_name",
    help="Class of every image, by its number or, of the embedded network, its name. By default `sample` takes all"
    " classes in turn, the other commands none.",
)  # fmt: skip


def run_option(*, required: bool = True) -> Callable[[Any], Any]:
    return click.option(
        "--run", "run_folder", type=click.Path(path_type=Path), required=required,
        help="Folder of the checkpoint and what the run reports; a checkpoint in it is resumed.",
    )  # fmt: skip


def solver_option(
    default: str = "auto",
    text: str = "auto, the best by its score for schedule and --nfe, or a name of `plan --list`.",
    further: tuple[str, ...] = (),
) -> Callable[[Any], Any]:  # fmt: skip
    return click.option("--solver", type=Solver(*further), default=default, show_default=True, help=text)


def solvers_option(flag: str, default: str, text: str) -> Callable[[Any], Any]:
    """Given to the command as ``solvers``."""
    return click.option(
        flag, "solvers", type=Names((AUTO_NAME, CALIBRATED_NAME, *SOLVERS, *SPELLINGS), "solver"), default=default,
        show_default=True,
        help=f"auto, calibrated, or names that `plan --list` prints, separated by commas. {text}".rstrip(),
    )  # fmt: skip


def schedule_option(default: str | None, text: str) -> Callable[[Any], Any]:
    kinds = click.Choice(list(SCHEDULES))
    return click.option("--schedule", type=kinds, default=default, show_default=default is not None, help=text)


def nfes_option(default: str, text: str) -> Callable[[Any], Any]:
    """Given to the command as ``nfes``."""
    return click.option("--nfe", "nfes", type=Integers(), default=default, show_default=True, help=text)


def seed_option(text: str = "Of all noise, 64 bits: the same seed gives the same result.") -> Callable[[Any], Any]:
    return click.option("--seed", type=SEED, default=0, show_default=True, help=text)


def count_option(default: int, text: str) -> Callable[[Any], Any]:
    return click.option("--count", type=COUNT, default=default, show_default=True, help=text)


def out_option(name: str, text: str) -> Callable[[Any], Any]:
    return click.option("--out", type=click.Path(path_type=Path), default=Path(name), show_default=True, help=text)


def page_option(text: str) -> Callable[[Any], Any]:
    return click.option("--page", type=click.Path(path_type=Path), help=text)


def export_option(text: str) -> Callable[[Any], Any]:
    return click.option("--export", "export_to", type=click.Path(path_type=Path), help=text)


def check_device(device: str) -> None:
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        reason = str(error).splitlines()[0]
        raise ValueError(f"--device {device}: {reason}; choose one that torch has here, such as cpu") from error
