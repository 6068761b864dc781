"""prepare: check a call once, run it any number of times.

A sampler runs the same rows over the same memory; what changes from run to run, the outputs of the network and draws
that somebody else made, comes through slots.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Hashable
from functools import cache
from typing import Any

import torch

from ._dispatch import requested, resolve
from ._torch_private import current_dispatch_mode
from .ops.fused_step import contract as fused_step
from .ops.fused_step.arguments import own
from .ops.fused_step.rows import GeneralRows, PreparedRows, StepRows, check_rows
from .ops.normal_fill import contract as normal_fill
from .ops.prepared import GeneralPrepared, Prepared

__all__ = ["prepare", "prepare_rows", "reuse_key"]

_NATIVE = ("cpu", "cuda")


def prepare(
    op: str, call: fused_step.FusedStepCall | normal_fill.NormalFillCall, *, backend: str | None = None
) -> Prepared:
    """Check ``call`` and choose its backend, once; the result runs it, filled with the tensors of each run.

    op: 'fused_step' or 'normal_fill'. call: its call; of a FusedStepCall some outputs and draws may be
    ``genie_ext.SLOT``. backend: as for the ops. A prepared call does not differentiate.
    With GENIE_EXT_CHECK=1 in the environment every run checks the whole call, overlaps of what is in its slots too.
    Raises ValueError or TypeError naming the argument.
    """
    call, check = _of_op(op, call)
    device = call.x.device if isinstance(call, fused_step.FusedStepCall) else call.out.device
    name, run = resolve(op, device, backend)
    check_each = _check_each()
    if name in _NATIVE:
        return _native(op).prepare(call, name, check, check_each=check_each)
    check(call)
    return GeneralPrepared(op, name, call, run, check if check_each else None)


def _of_op(op: str, call: object) -> tuple[Any, Callable[[Any], None]]:
    """A call of our own, for the caller may fill in the same one for the next; and the op's check."""
    if op == "fused_step" and isinstance(call, fused_step.FusedStepCall):
        return own(call), fused_step.check
    if op == "normal_fill" and isinstance(call, normal_fill.NormalFillCall):
        return normal_fill.own(call), normal_fill.check
    raise TypeError(
        f"prepare: op {op!r} with a {type(call).__name__}; give 'fused_step' a FusedStepCall, or 'normal_fill' a "
        "NormalFillCall"
    )


def prepare_rows(rows: StepRows, *, backend: str | None = None) -> PreparedRows:
    """Check the rows of a table over the same tensors and choose their backend, once; the result runs them by number.

    As :func:`prepare` of each row's call, at the cost of one: a run costs about as much as the kernel. With
    GENIE_EXT_CHECK=1 every run checks its whole call. Raises ValueError or TypeError naming the argument.
    """
    check_rows(rows)
    name, _ = resolve("fused_step", rows.x.device, backend)
    if name in _NATIVE:
        native = importlib.import_module("genie_ext.ops.fused_step.native_rows")
        return native.NativeRows(rows, name, fused_step.check, check_each=_check_each())
    prepared = [prepare("fused_step", rows.call(number), backend=name) for number in range(len(rows.layout))]
    return GeneralRows(rows, name, prepared)


def reuse_key(device: torch.device, *, backend: str | None = None) -> Hashable:
    """What prepared rows over the same tensors, layout and table have in common if they are alike: rows prepared under
    an equal key may run in place of new ones.

    None where their memory may not be used again: on a GPU, where another stream may still read it and a captured
    graph would write it; inside a TorchDispatchMode, whose tensors are its own.
    """
    if device.type != "cpu" or current_dispatch_mode() is not None:
        return None
    return requested(backend), _check_each()


def _check_each() -> bool:
    return os.environ.get("GENIE_EXT_CHECK") == "1"


@cache
def _native(op: str) -> Any:
    return importlib.import_module(f"genie_ext.ops.{op}.native")
