"""What commands know of Fashion-MNIST: where it lies, and its classes."""

from __future__ import annotations

import click

from ..demo import data

__all__ = ["IMAGE_SHAPE", "class_number", "data_option"]

IMAGE_SHAPE = (1, 28, 28)  # of the embedded network

data_option = click.option(
    "--data", "root", default=str(data.DEFAULT_ROOT), show_default=True, help="Folder of the IDX files."
)


def class_number(name: str) -> int:
    """Of a class of Fashion-MNIST, by its name or number."""
    if name.isdecimal() and name.isascii() and int(name[:9]) < len(data.CLASS_NAMES):
        return int(name)
    lowered = [n.lower() for n in data.CLASS_NAMES]
    if name.lower() not in lowered:
        raise ValueError(f"--class {name!r}; choose 0..9 or one of {', '.join(data.CLASS_NAMES)}")
    return lowered.index(name.lower())
