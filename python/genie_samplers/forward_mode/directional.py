"""Directional derivatives of a network: forward mode, or double backward for networks that have no forward mode."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from .jvp_safe import jvp_safe

__all__ = ["METHODS", "Function", "Pair", "directional", "directional_twice"]

Function = Callable[[Tensor, Tensor], Tensor]
Pair = tuple[Tensor, Tensor]
_GROSS = 0.05  # relative to the larger of the two derivatives; far above what a central difference misses
_RADIANS = 0.1  # how far the label may move: sinusoidal embeddings turn by one radian per unit
_TINY = 1e-30


def directional(f: Function, point: Pair, direction: Pair, method: str) -> Tensor:
    """d/dtau f(point + tau direction) at 0, f's shape. ``method``: one of :data:`METHODS`."""
    return METHODS[method](f, point, direction, None)


def directional_twice(f: Function, point: Pair, direction: Pair, bend: Pair, method: str) -> Tensor:
    """d^2/dtau^2 f(point + tau direction + tau^2/2 bend) at 0, f's shape."""
    return METHODS[method](f, point, direction, bend)


def _forward(f: Function, point: Pair, direction: Pair, bend: Pair | None) -> Tensor:
    with jvp_safe():
        return _differentiate(lambda *given: torch.func.jvp(*given)[1], f, point, direction, bend)


def _double_backward(f: Function, point: Pair, direction: Pair, bend: Pair | None) -> Tensor:
    with jvp_safe(), torch.inference_mode(False), torch.enable_grad():
        along = (direction[0].clone(), direction[1].clone())  # inference tensors cannot be seeds
        result = _differentiate(_transposed_twice, f, point, along, bend)
    if bend is None:
        _check_against_difference(f, point, direction, result)
    return result.detach()


def _auto(f: Function, point: Pair, direction: Pair, bend: Pair | None) -> Tensor:
    try:
        return _forward(f, point, direction, bend)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
    warnings.warn(
        f"model: has no forward-mode derivative ({reason}); taking the double backward, which costs several times more",
        stacklevel=2,
    )
    return _double_backward(f, point, direction, bend)


METHODS = {"forward": _forward, "double_backward": _double_backward, "auto": _auto}


def _differentiate(
    derivative: Callable[[Callable[..., Tensor], tuple[Tensor, ...], tuple[Tensor, ...]], Tensor],
    f: Function,
    point: Pair,
    direction: Pair,
    bend: Pair | None,
) -> Tensor:
    def first(x: Tensor, label: Tensor, *along: Tensor) -> Tensor:
        return derivative(f, (x, label), along)

    if bend is None:
        return first(*point, *direction)
    return derivative(first, (*point, *direction), (*direction, *bend))


def _transposed_twice(f: Callable[..., Tensor], point: tuple[Tensor, ...], direction: tuple[Tensor, ...]) -> Tensor:
    """The backward pass is linear in its seed: its own backward pass is the Jacobian applied to ``direction``."""
    leaves = [v if v.requires_grad else v.clone().requires_grad_() for v in point]
    value = f(*leaves)
    seed = torch.zeros_like(value, requires_grad=True)
    gradients = torch.autograd.grad(value, leaves, seed, create_graph=True, materialize_grads=True)
    reached = [(g, d) for g, d in zip(gradients, direction, strict=True) if g.requires_grad]
    if not reached:
        return torch.zeros_like(value)
    outputs, seeds = zip(*reached, strict=True)
    return torch.autograd.grad(outputs, seed, seeds, create_graph=True)[0]


def _check_against_difference(f: Function, point: Pair, direction: Pair, result: Tensor) -> None:
    """Some hand-written autograd functions drop paths from a double backward without an error."""
    (x, _), (dx, dlabel) = point, direction
    precision = torch.finfo(x.dtype).eps
    step = precision ** (1 / 3) * max(1.0, float(x.abs().max())) / max(float(dx.abs().max()), _TINY)
    step = min(step, _RADIANS / max(float(dlabel.abs().max()), _TINY))
    with torch.no_grad():
        after, before = (f(*(v + h * d for v, d in zip(point, direction, strict=True))) for h in (step, -step))
        difference = (after - before) / (2.0 * step)
        noise = precision / step * after.norm()
        error = (result - difference).norm()
        gross = error > noise + _GROSS * torch.maximum(result.norm(), difference.norm())
    if gross:
        relative = float(error / difference.norm())
        raise ValueError(
            f"method='double_backward': disagrees with a finite difference of the model (error {relative:.2g}); "
            "a custom autograd.Function (gradient checkpointing?) has a backward that cannot be differentiated: "
            "switch it off, or use method='forward'"
        )
