"""genie-samplers doctor: what a scheduler of diffusers makes of its configuration, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import click

from ..doctor import examine
from .types import COUNT, Real

__all__ = ["doctor_command"]


@click.command("doctor")
@click.argument("config", type=click.Path(exists=True, path_type=Path))
@click.option("--steps", type=COUNT, default=20, show_default=True, help="What set_timesteps is called with.")
@click.option(
    "--tokens",
    type=COUNT,
    help="Of the image, for a scheduler with dynamic shifting; 4096, 1024 x 1024 pixels, by default.",
)
@click.option("--mu", type=Real(0.0), help="The dynamic shift itself, in place of --tokens.")
@click.option(
    "--linear-sigmas/--own-sigmas", default=None,
    help="Whether the pipeline passes sigmas=linspace(1, 1/N, N), as that of FLUX does; so with dynamic shifting.",
)  # fmt: skip
def doctor_command(config: Path, steps: int, tokens: int | None, mu: float | None, linear_sigmas: bool | None) -> None:
    """What a scheduler of diffusers makes of its configuration, what is wrong with it, and what replaces it.

    CONFIG is a scheduler_config.json, or a folder with one.
    """
    click.echo(str(examine(config, steps, tokens=tokens, mu=mu, linear_sigmas=linear_sigmas)))
