"""The command line in this process, and a file that it reads."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import click
import numpy as np
from click.testing import CliRunner

from genie_samplers.cli import main

__all__ = ["commands", "refused", "run", "write_idx"]


def commands(group: click.Group, prefix: str = "") -> dict[str, click.Command]:
    """Every command below a group that is no group itself, by what is typed for it."""
    context = click.Context(group)
    found: dict[str, click.Command] = {}
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        typed = f"{prefix}{name}"
        found |= commands(command, f"{typed} ") if isinstance(command, click.Group) else {typed: command}
    return found


def run(*arguments: object) -> str:
    """What the command prints; it has to succeed."""
    result = CliRunner().invoke(main, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def refused(*arguments: object) -> str:
    """What a command says that ends with an error of its own, not with a traceback."""
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert isinstance(result.exception, SystemExit), result.exception  # anything else is a traceback
    assert result.exit_code in (1, 2)  # 2: refused by click itself
    return result.output


def write_idx(path: Path, values: np.ndarray) -> None:
    """A file of Fashion-MNIST's format."""
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    path.write_bytes(gzip.compress(header + values.astype(np.uint8).tobytes()))
