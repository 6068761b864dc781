"""Gradients and tangents: the reference backends carry them, the native ones never see them, so they must refuse.

A custom op under forward-mode differentiation gives a zero tangent without an error; nothing here relies on one.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.autograd import forward_ad

from ._torch_private import in_dual_level, in_function_transform, is_function_wrapper

__all__ = ["check_differentiable", "has_tangent", "mark_written", "wants_gradients"]


def wants_gradients(*values: object) -> bool:
    """Whether any tensor among ``values`` records gradients, carries a tangent or is inside a torch.func transform."""
    return any(isinstance(v, Tensor) and _is_tracked(v) for v in values)


def has_tangent(*values: object) -> bool:
    """Whether any tensor among ``values`` carries a tangent or is inside a torch.func transform."""
    return any(isinstance(v, Tensor) and _is_transformed_or_dual(v) for v in values)


def check_differentiable(op: str, backend: str, written: Iterable[object]) -> None:
    """Raise unless this call can run on the differentiable reference without writing to a given tensor."""
    if backend not in ("auto", "reference"):
        raise ValueError(
            f"backend={backend!r} of {op} does not differentiate, but an input requires grad or carries a tangent; "
            "use backend='reference', torch.no_grad() or .detach()"
        )
    if any(isinstance(target, Tensor) for target in written):
        raise ValueError(
            f"{op}: an input requires grad or carries a tangent, so results cannot be written into given tensors; "
            "leave out=, aux_out=, store= and x_in= to allocate (True or a dtype), and nonfinite=None"
        )


def mark_written(*values: object) -> None:
    """Tell autograd what a native kernel wrote: a backward pass that needs the old values then raises."""
    written = [value for value in values if isinstance(value, Tensor)]
    if written:
        torch.autograd.graph.increment_version(written)


def _is_tracked(tensor: Tensor) -> bool:
    return (tensor.requires_grad and torch.is_grad_enabled()) or _is_transformed_or_dual(tensor)


def _is_transformed_or_dual(tensor: Tensor) -> bool:
    if torch.compiler.is_compiling():  # which cannot look at single tensors
        return in_function_transform() or in_dual_level()
    if is_function_wrapper(tensor):
        return True
    # outside a dual level unpack_dual raises; no tensor carries a tangent there
    return in_dual_level() and forward_ad.unpack_dual(tensor).tangent is not None
