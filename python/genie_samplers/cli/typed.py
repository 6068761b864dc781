"""The command that runs, as it can be typed again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import click
from click.core import ParameterSource

from .types import Out

__all__ = ["typed"]


def typed() -> str:
    """With the options that were given, in the order of the help, each by its first name; defaults are left out."""
    context = click.get_current_context()
    words = ["genie-samplers", *context.command_path.split()[1:]]
    for option in context.command.params:
        given = context.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE
        if given and isinstance(option, click.Option):
            words += _words(option, context.params[option.name or ""])
    return shlex.join(words)


def _words(option: click.Option, value: object) -> Iterator[str]:
    if option.is_flag:
        yield (option.opts if value else option.secondary_opts)[0]
        return
    for one in value if option.multiple and isinstance(value, tuple) else (value,):
        yield option.opts[0]
        yield _word(one)


def _word(value: object) -> str:
    if isinstance(value, Out):
        return f"{value.path}/" if value.is_folder else str(value.path)
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
