"""Entry point of ``genie-samplers`` and ``python -m genie_samplers``: the command line, or what to install for it."""

from __future__ import annotations

import sys
from importlib.util import find_spec

_NEEDED = ("click", "PIL", "tqdm", "matplotlib")


def main() -> None:
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        sys.exit(f'genie-samplers: {", ".join(missing)} not installed; pip install "genie-ext[cli]"')
    from .cli import main as command

    command()


if __name__ == "__main__":
    main()
