"""Command-line options that more than one command here has."""

from __future__ import annotations

import argparse
from pathlib import Path

from .store import DEFAULT_CACHE

__all__ = ["add_cache", "integers", "names"]


def names(text: str) -> list[str]:
    """The names in ``a,b``."""
    return text.split(",")


def integers(text: str) -> list[int]:
    """The integers in ``5,10``; none in an empty text."""
    return [int(part) for part in text.split(",") if part]


def add_cache(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE, help="folder of what need not be computed again")
