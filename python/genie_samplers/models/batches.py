"""Conditioning: values with one entry per sample, and what all samples share, in whatever containers they come."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["is_batch", "map_batches", "map_tensors", "pick", "repeated"]

_ENTRIES = (bool, int, float, complex, str, bytes, np.generic)


def is_batch(value: Any) -> bool:
    """Whether a value holds one entry per sample itself, rather than containers of such.

    A tensor or array with a first dimension, a list or tuple of numbers or strings. A named tuple is a container.
    """
    if isinstance(value, Tensor | np.ndarray):
        return value.ndim > 0
    if not isinstance(value, list | tuple) or _is_named(value):
        return False
    return len(value) > 0 and all(isinstance(v, _ENTRIES) for v in value)


def map_batches(value: Any, change: Callable[[Any], Any]) -> Any:
    """``change`` applied to every batch in nested mappings, lists and tuples, which come back as the same kind.

    None passes. TypeError for anything else.
    """
    if value is None:
        return None
    if is_batch(value):
        return change(value)
    if isinstance(value, Mapping | list | tuple):
        return _rebuilt(value, lambda item: map_batches(item, change))
    shown = f"{value!r} of type {type(value).__name__}"
    raise TypeError(f"{shown if len(shown) < 80 else shown[:77] + '...'} has no entry per sample")


def map_tensors(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """``change`` applied to every tensor in nested mappings, lists and tuples; what holds none stays as it is."""
    if isinstance(value, Tensor):
        return change(value)
    if not isinstance(value, Mapping | list | tuple) or not _holds_tensors(value):
        return value
    return _rebuilt(value, lambda item: map_tensors(item, change))


def pick(batch: Any, positions: Sequence[int]) -> Any:
    """The entries of these samples, of a batch as :func:`is_batch` knows it."""
    if isinstance(batch, Tensor):  # unlike batch[index], this does not start every thread for a few elements
        return batch.index_select(0, torch.tensor(positions, dtype=torch.int64, device=batch.device))
    if isinstance(batch, np.ndarray):
        return batch[np.asarray(positions, dtype=np.intp)]
    return type(batch)([batch[i] for i in positions])


def repeated(batch: Any) -> Any:
    """All entries, and all of them once more."""
    if isinstance(batch, Tensor):
        return torch.cat([batch, batch])
    return np.concatenate([batch, batch]) if isinstance(batch, np.ndarray) else batch + batch


def _rebuilt(container: Any, change: Callable[[Any], Any]) -> Any:
    """A container of the same kind with its items changed."""
    if isinstance(container, MutableMapping):  # of any class: a default factory, the fields of a model's output, ...
        made = copy.copy(container)
        for name, item in container.items():
            made[name] = change(item)
        return made
    if isinstance(container, Mapping):
        return type(container)({name: change(item) for name, item in container.items()})  # type: ignore[call-arg]
    items = [change(item) for item in container]
    return type(container)(*items) if _is_named(container) else type(container)(items)


def _holds_tensors(value: Any) -> bool:
    if isinstance(value, Mapping):
        value = value.values()
    elif not isinstance(value, list | tuple):
        return isinstance(value, Tensor)
    return any(_holds_tensors(item) for item in value)


def _is_named(value: object) -> bool:
    return isinstance(value, tuple) and hasattr(value, "_fields")
