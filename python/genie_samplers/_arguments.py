"""Arguments as Python and numpy callers write them, brought to one type or refused by name, value and fix."""

from __future__ import annotations

import operator
import reprlib
from collections.abc import Collection
from numbers import Real
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["boolean", "choice", "integer", "real", "reals", "shown"]

_MOST = 120  # characters of a value in a message
_SHORT = reprlib.Repr()
_SHORT.maxtuple = _SHORT.maxlist = _SHORT.maxdict = 8
_SHORT.maxstring = _SHORT.maxother = 60


def shown(value: object) -> str:
    """``repr(value)``, cut short where it is long: for messages."""
    text = _SHORT.repr(value)
    return text if len(text) <= _MOST else text[: _MOST - 3] + "..."


def real(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name}={shown(value)}: give a real number")
    try:
        return float(value)
    except OverflowError as error:
        raise ValueError(f"{name}: an integer beyond float64; give a smaller number") from error


def integer(value: object, name: str, *, least: int | None = None) -> int:
    if type(value) is int:  # asking whether something is a SupportsIndex takes as long as a small kernel
        number = value
    elif isinstance(value, bool) or not isinstance(value, SupportsIndex):
        raise TypeError(f"{name}={shown(value)}: give an integer")
    else:
        number = _index(value, name)
    if least is not None and number < least:
        raise ValueError(f"{name}={number}: give {least} or more")
    return number


def _index(value: SupportsIndex, name: str) -> int:
    """Of an integer, or of an array or tensor that holds one; arrays have ``__index__`` whatever they hold."""
    if str(getattr(value, "dtype", "")).endswith("bool"):
        raise TypeError(f"{name}={shown(value)}: give an integer")
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name}={shown(value)}: give an integer") from None


def boolean(value: object, name: str) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name}={shown(value)}: give True or False")
    return bool(value)


def reals(values: ArrayLike, name: str) -> NDArray[np.float64]:
    """As float64; not a copy where they are float64 already. A tensor of torch may record gradients, or be bfloat16."""
    if hasattr(values, "detach") and hasattr(values, "is_floating_point"):  # torch is not imported here
        tensor: Any = values
        tensor = tensor.detach().cpu()
        values = tensor.double().numpy() if tensor.is_floating_point() else tensor.numpy()
    try:
        array = np.asarray(values)
    except ValueError as error:  # ragged
        raise ValueError(f"{name}: lists of different lengths; give numbers that fill one array") from error
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name} has dtype {array.dtype}: give real numbers")
    return array.astype(np.float64, copy=False)


def choice(value: object, argument: str, allowed: Collection[Any]) -> Any:
    """``value`` if it is one of ``allowed``; ValueError otherwise."""
    if not isinstance(value, str | int) or value not in allowed:
        raise ValueError(f"{argument}={shown(value)}; choose one of {', '.join(map(str, allowed))}")
    return value
