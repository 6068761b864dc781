"""Command line: genie-samplers with sample, encode, interpolate, compare, plan, backends, train, distill, ..."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

__all__ = ["COMMANDS", "main"]

# short help by name, so that --help imports no command: each is <name>_command in the module of its name
COMMANDS = {
    "backends": "Which backend of each op runs here, and why not the others.",
    "calibrate": "Fit a solver to a network.",
    "compare": "Solvers (rows) against evaluations (columns) from the same latents: PNG, and RMSE to a fine solution as"
    " CSV.",
    "diagnose": "How smooth a network is over a step: what solver, threshold and grid to use.",
    "distill": "Distill a head; stops and resumes at any time, alone or under torchrun.",
    "doctor": "What a scheduler of diffusers makes of its configuration, what is wrong with it, and what replaces it.",
    "encode": "Images to latents and back: a picture, the latents, and the error per dimension as CSV (images in"
    " [0, 1]).",
    "interpolate": "Images along great circles between the latents in the corners, as one PNG.",
    "plan": "Print a solver's table on a schedule.",
    "sample": "Images from the embedded Fashion-MNIST network, or from another: one PNG of all, or a folder of single"
    " files.",
    "train": "Train a network like the embedded one, or go on training another; stops and resumes at any time.",
}
_STOPPED = 130  # what shells report of a program that Ctrl-C ended


class _Group(click.Group):
    """Commands that are imported when they are called; bad input ends with its message instead of a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        return getattr(import_module(f".{cmd_name}", __name__), f"{cmd_name}_command")

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise  # click's own ends, two of which are RuntimeErrors
        except KeyboardInterrupt:
            click.echo("stopped", err=True)
            raise click.exceptions.Exit(_STOPPED) from None
        except (
            ValueError,
            TypeError,
            ImportError,
            OSError,
            RuntimeError,
            EOFError,
            MemoryError,
            OverflowError,
        ) as error:
            raise click.ClickException(str(error) or type(error).__name__) from error


def _print_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        import genie_ext

        click.echo(f"genie-samplers, version {genie_ext.__version__}")
        ctx.exit()


@click.group(cls=_Group)
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_print_version,
    help="Show the version and exit.",
)  # fmt: skip
def main() -> None:
    """Sample from diffusion models in 5-20 network evaluations."""
