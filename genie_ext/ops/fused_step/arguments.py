"""Arguments of fused_step as a caller may write them, each of the right Python type, made into parts of a call."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..._checks import check_integer, check_optional_tensor, check_sequence, check_tensor
from ..noise import check_noise_types
from ..slots import SLOT
from .contract import FusedStepCall

__all__ = ["destination", "draw_numbers_and_tensors", "empty_state", "network_input", "own", "tensors"]


def own(call: FusedStepCall) -> FusedStepCall:
    """The call once more, each part of the right type, whatever becomes of the one given and of its lists."""
    outputs, draws = _numbered("outputs", call.outputs), _numbered("draws", call.draws)
    return FusedStepCall(
        x=check_tensor("x", call.x),
        outputs=tuple(o if o is SLOT else check_tensor(f"outputs[{i}]", o) for i, o in outputs),
        history=tensors("history", call.history),
        row=check_tensor("row", call.row),
        converted=check_integer("converted", call.converted),
        aux=check_optional_tensor("aux", call.aux),
        draws=tuple(d if d is SLOT or isinstance(d, Tensor) else check_integer(f"draws[{i}]", d) for i, d in draws),
        noise=None if call.noise is None else check_noise_types(call.noise),
        out=check_tensor("out", call.out),
        aux_out=check_optional_tensor("aux_out", call.aux_out),
        stored=tuple(check_optional_tensor(f"store[{h}]", s) for h, s in _numbered("store", call.stored)),
        x_in=check_optional_tensor("x_in", call.x_in),
        nonfinite=check_optional_tensor("nonfinite", call.nonfinite),
    )


def tensors(name: str, values: object) -> tuple[Tensor, ...]:
    return tuple(check_tensor(f"{name}[{i}]", value) for i, value in _numbered(name, values))


def draw_numbers_and_tensors(draws: object) -> tuple[int | Tensor, ...]:
    return tuple(
        draw if isinstance(draw, Tensor) else check_integer(f"draws[{i}]", draw)
        for i, draw in _numbered("draws", draws)
    )


def _numbered(name: str, values: object) -> enumerate[Any]:
    return enumerate(check_sequence(name, values))


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
