"""prepare: check a call once, run it any number of times.

A sampler runs the same rows over the same memory; what changes from run to run, the outputs of the network and draws
that somebody else made, comes through slots.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from functools import cache
from typing import Any

import torch

from ._dispatch import resolve
from .ops.fused_step import contract as fused_step
from .ops.normal_fill import contract as normal_fill
from .ops.prepared import GeneralPrepared, Prepared

__all__ = ["prepare"]

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
    check, device = _of_op(op, call)
    name, run = resolve(op, device, backend)
    check_each = os.environ.get("GENIE_EXT_CHECK") == "1"
    if name in _NATIVE:
        return _native(op).prepare(call, name, check, check_each=check_each)
    check(call)
    return GeneralPrepared(op, name, call, run, check if check_each else None)


def _of_op(op: str, call: object) -> tuple[Callable[[Any], None], torch.device]:
    """The op's check, and where its call runs."""
    if op == "fused_step" and isinstance(call, fused_step.FusedStepCall):
        return fused_step.check, call.x.device
    if op == "normal_fill" and isinstance(call, normal_fill.NormalFillCall):
        return normal_fill.check, call.out.device
    raise TypeError(
        f"prepare: op {op!r} with a {type(call).__name__}; give 'fused_step' a FusedStepCall, or 'normal_fill' a "
        "NormalFillCall"
    )


@cache
def _native(op: str) -> Any:
    return importlib.import_module(f"genie_ext.ops.{op}.native")
