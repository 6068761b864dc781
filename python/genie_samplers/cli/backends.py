"""genie-samplers backends: what runs here."""

from __future__ import annotations

import click

import genie_ext

__all__ = ["backends_command"]


@click.command("backends")
def backends_command() -> None:
    """Which backend of each op runs here, and why not the others."""
    for op, states in genie_ext.backends().items():
        for name, state in states.items():
            click.echo(f"{op:12s} {name:10s} {state}")
