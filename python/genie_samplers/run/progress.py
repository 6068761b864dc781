"""A progress bar where tqdm is installed; the sampler works without it."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any

__all__ = ["progress_bar"]


class _Silent:
    def update(self) -> None:
        pass


def progress_bar(total: int, *, show: bool | None) -> AbstractContextManager[Any]:
    """A bar of ``total`` rows on stderr, with ``update()``. show: None shows it on a terminal only."""
    if show is False or sys.stderr is None:  # none where a program has no console
        return nullcontext(_Silent())
    try:
        from tqdm import tqdm
    except ImportError:
        return nullcontext(_Silent())
    return tqdm(total=total, unit="row", disable=None if show is None else False, leave=False)
