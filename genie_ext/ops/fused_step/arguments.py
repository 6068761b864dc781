"""Arguments of fused_step as a caller may write them, each of the right Python type, made into parts of a call."""

from __future__ import annotations

import torch
from torch import Tensor

from ..._checks import check_integer, check_optional_tensor, check_sequence, check_tensor

__all__ = ["destination", "draw_numbers_and_tensors", "empty_state", "network_input", "tensors"]


def tensors(name: str, values: object) -> tuple[Tensor, ...]:
    return tuple(check_tensor(f"{name}[{i}]", value) for i, value in enumerate(check_sequence(name, values)))


def draw_numbers_and_tensors(draws: object) -> tuple[int | Tensor, ...]:
    return tuple(
        draw if isinstance(draw, Tensor) else check_integer(f"draws[{i}]", draw)
        for i, draw in enumerate(check_sequence("draws", draws))
    )


def destination(name: str, wanted: object, x: Tensor, dtype: torch.dtype) -> Tensor | None:
    """The tensor to write: the one given, a new one for True, or None."""
    if wanted is True:
        return empty_state(x, dtype)
    return None if wanted is False else check_optional_tensor(name, wanted, "a torch.Tensor, True or None")


def network_input(wanted: object, x: Tensor) -> Tensor | None:
    """The tensor to write: the one given, a new one of the dtype given, or None."""
    if isinstance(wanted, torch.dtype):
        return empty_state(x, wanted)
    return check_optional_tensor("x_in", wanted, "a torch.Tensor, a torch.dtype or None")


def empty_state(x: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.empty_like(x, dtype=dtype, memory_format=torch.contiguous_format)
