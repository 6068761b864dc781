"""Conditioning with one entry per sample, in whatever containers it comes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from torch import Tensor

__all__ = ["is_batch", "map_batches"]


def is_batch(value: object) -> bool:
    """Whether a value holds one entry per sample itself, rather than containers of such.

    A tensor or array with a first dimension, a list or tuple of numbers or strings.
    """
    if isinstance(value, Tensor | np.ndarray):
        return value.ndim > 0
    return isinstance(value, list | tuple) and len(value) > 0 and all(isinstance(v, _ENTRIES) for v in value)


def map_batches(value: Any, change: Callable[[Any], Any]) -> Any:
    """``change`` applied to every batch in nested mappings, lists and tuples, which come back as the same kind.

    None passes. TypeError for anything else.
    """
    if value is None:
        return None
    if is_batch(value):
        return change(value)
    if isinstance(value, Mapping):
        items = {name: map_batches(item, change) for name, item in value.items()}
        return items if type(value) is dict else _like(value, items)
    if isinstance(value, list | tuple):
        made = [map_batches(item, change) for item in value]
        return _like(value, made)
    shown = f"{value!r} of type {type(value).__name__}"
    raise TypeError(f"{shown if len(shown) < 80 else shown[:77] + '...'} has no entry per sample")


_ENTRIES = (bool, int, float, complex, str, bytes, np.generic)


def _like(kind: Any, items: Any) -> Any:
    """``items`` in a container of the kind of ``kind``."""
    if hasattr(kind, "_fields"):  # a named tuple
        return type(kind)(*items)
    return type(kind)(items)
