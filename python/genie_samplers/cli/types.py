"""Types of options: each says of a wrong value which option it was given to, and what to give. Imports no torch."""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

import click

from ..solvers.make import AUTO_NAME
from ..solvers.registry import SOLVERS, SPELLINGS

__all__ = [
    "COUNT",
    "FILE",
    "FOLDER",
    "POSITIVE",
    "SEED",
    "STEPS",
    "Integers",
    "Names",
    "Out",
    "OutType",
    "Real",
    "Solver",
]


class Real(click.FloatRange):
    """A finite number in a range; click's own lets NaN and infinities through."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


class Integers(click.ParamType):
    """Integers of 1 or more, separated by commas, as a tuple."""

    name = "integers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        parts = _parts(value)
        if not parts or not all(p.isascii() and p.isdecimal() and len(p) < 10 and int(p) > 0 for p in parts):
            self.fail(f"{value!r}; give integers of 1 or more separated by commas, for example 5,10", param, ctx)
        return tuple(map(int, parts))


class Names(click.ParamType):
    """One or more of some names, separated by commas, as a tuple. what: of what they are names."""

    name = "names"

    def __init__(self, known: Collection[str], what: str) -> None:
        self.known, self.what = known, what

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        parts = _parts(value)
        if not parts:
            self.fail(f"{value!r}; give one or more, separated by commas", param, ctx)
        for part in parts:
            if part not in self.known:
                self.fail(f"{part!r} is no {self.what}; {_closest(part, self.known)}", param, ctx)
        return tuple(parts)


class Out(NamedTuple):
    """Where samples go: into one picture, or into files of their own in a folder."""

    path: Path
    is_folder: bool


class OutType(click.ParamType):
    """A name with a suffix is a file, one without or that ends in a slash a folder."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Out:
        if isinstance(value, Out):
            return value
        path = Path(value)
        return Out(path, str(value).endswith(("/", os.sep)) or not path.suffix)


class Solver(click.ParamType):
    """ "auto", or the name of a registered solver, also by the spellings of other libraries. further: other names."""

    name = "solver"

    def __init__(self, *further: str) -> None:
        self.known = (AUTO_NAME, *further, *SOLVERS, *SPELLINGS)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value in self.known:
            return value
        self.fail(f"{value!r} is no solver; {_closest(value, self.known)}", param, ctx)


COUNT = click.IntRange(1, 2**31 - 1)
STEPS = click.IntRange(0, 2**31 - 1)
SEED = click.IntRange(0, 2**64 - 1)
POSITIVE = Real(0.0, min_open=True)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _closest(name: str, known: Collection[str]) -> str:
    """What to choose from: the names that look alike before all others."""
    alike = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"choose {' or '.join(alike)}, or another of {', '.join(known)}" if alike else f"choose {', '.join(known)}"
