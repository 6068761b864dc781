"""A progress bar where tqdm is installed; the sampler works without it."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any

__all__ = ["progress_bar"]


class _Silent:
    def update(self) -> None:
        pass

    def set_postfix(self, **values: object) -> None:
        pass


def progress_bar(
    total: int, *, show: bool | None, unit: str = "row", done: int = 0, leave: bool = False
) -> AbstractContextManager[Any]:
    """A bar of ``total`` units on stderr, ``done`` of them already, with ``update()`` and ``set_postfix(name=text)``.

    show: None shows it on a terminal only. leave: whether it stays when all is done.
    """
    if show is False or sys.stderr is None:  # none where a program has no console
        return nullcontext(_Silent())
    try:
        from tqdm import tqdm
    except ImportError:
        return nullcontext(_Silent())
    return tqdm(
        total=total, initial=done, unit=unit, disable=None if show is None else False, leave=leave, dynamic_ncols=True
    )
