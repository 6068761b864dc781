"""What only some functions need, and what to install for it."""

from __future__ import annotations

from importlib.util import find_spec

__all__ = ["require"]


def require(what: str, *modules: str, extra: str) -> None:
    """ImportError where one of these modules is not installed: what needs it, and the extra that has it."""
    if missing := [name for name in modules if find_spec(name) is None]:
        raise ImportError(f'{what} needs {", ".join(missing)}: pip install "genie-ext[{extra}]"')
