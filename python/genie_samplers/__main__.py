"""Entry point of ``genie-samplers`` and ``python -m genie_samplers``: the command line, or what to install for it."""

from __future__ import annotations

import sys
from importlib.util import find_spec

__all__ = ["main"]

_STOPPED = 130  # what shells report of a program that Ctrl-C ended


def main() -> None:
    if find_spec("click") is None:
        sys.exit('genie-samplers: the command line needs click: pip install "genie-ext[cli]"')
    try:
        from .cli import main as command

        command()
    except KeyboardInterrupt:  # while something is imported; later the command line ends itself
        sys.exit(_STOPPED)


if __name__ == "__main__":
    main()
