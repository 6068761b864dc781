"""Functions that torch.compile leaves as they are."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar, cast

import torch

__all__ = ["eager"]

P = ParamSpec("P")
T = TypeVar("T")


def eager(function: Callable[P, T]) -> Callable[P, T]:
    """``function``, run as written also where torch.compile traces its caller.

    Traced, the float64 arithmetic of numpy inside would be done by torch, with other bits where it works at all.
    """

    @wraps(function)
    def untraced(*args: P.args, **kwargs: P.kwargs) -> T:
        if torch.compiler.is_compiling():
            disabled = cast(Callable[P, T], torch.compiler.disable(function))  # not earlier: it imports the compiler
            return disabled(*args, **kwargs)
        return function(*args, **kwargs)

    return untraced
