"""Command line: genie-samplers with sample, encode, interpolate, compare, plan, backends, train, distill, ..."""

from __future__ import annotations

from typing import Any

import click

import genie_ext

from .backends import backends_command
from .calibrate import calibrate_group
from .compare import compare_command
from .diagnose import diagnose_command
from .distill import distill_command
from .encode import encode_command
from .interpolate import interpolate_command
from .plan import plan_command
from .sample import sample_command
from .train import train_command

__all__ = ["main"]


class _Group(click.Group):
    """Bad input ends with its message instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise  # click's own ends, two of which are RuntimeErrors
        except (ValueError, TypeError, ImportError, OSError, RuntimeError) as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Group)
@click.version_option(genie_ext.__version__, prog_name="genie-samplers")
def main() -> None:
    """Sample from diffusion models in 5-20 network evaluations."""


main.add_command(sample_command)
main.add_command(encode_command)
main.add_command(interpolate_command)
main.add_command(compare_command)
main.add_command(plan_command)
main.add_command(backends_command)
main.add_command(train_command)
main.add_command(calibrate_group)
main.add_command(diagnose_command)
main.add_command(distill_command)
