"""Linear maps of tangents: how the tangent of a function's value follows from those of its arguments.

A rule returns None where it does not hold, for example because another argument moves, too. Functions without a rule
are differentiated by torch.func.jvp, which computes their value a second time. The Jacobians of normalisation, softmax
and pointwise functions are symmetric: the kernel that pulls a gradient back also pushes a tangent forward, in one pass
over memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from .jvp_safe import jvp_safe

__all__ = ["RULES", "Call", "Path", "Push", "pushforward"]

_aten: Any = torch.ops.aten
_OF_INPUT = (True, False, False)  # of the gradients of a normalisation: neither of weight nor of bias

Path = tuple[Any, ...]
"""A position or name, then places in nested lists and dicts."""

Push = Callable[..., Any]
"""Tangents of the moving arguments -> tangent of the value, or a tuple of them."""


@dataclass(frozen=True)
class Call:
    """A function called with holes where its arguments move: call(*moving) fills them."""

    func: Callable[..., Any]
    args: tuple[Any, ...]
    named: Mapping[str, Any]
    moving: tuple[Path, ...]

    @classmethod
    def of(cls, func: Callable[..., Any], args: Sequence[Any], named: Mapping[str, Any], moving: tuple) -> Call:
        return cls(func, *_filled(args, named, moving, (None,) * len(moving)), moving)

    @property
    def first_moves(self) -> bool:
        """The first argument, and nothing else."""
        return self.moving == ((0,),)

    @property
    def positions(self) -> tuple[int, ...] | None:
        """Of what moves, where these are positional arguments."""
        plain = all(len(path) == 1 and isinstance(path[0], int) for path in self.moving)
        return tuple(path[0] for path in self.moving) if plain else None

    def __call__(self, *moving: Tensor) -> Any:
        args, named = _filled(self.args, self.named, self.moving, moving)
        return self.func(*args, **named)


def _filled(
    args: Sequence[Any], named: Mapping[str, Any], paths: tuple[Path, ...], values: tuple[Any, ...]
) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    for path, value in zip(paths, values, strict=True):
        if isinstance(path[0], str):
            named = _replaced(named, path, value)
        else:
            args = _replaced(args, path, value)
    return tuple(args), named


def _replaced(home: Any, path: Path, value: Any) -> Any:
    copy: Any = dict(home) if isinstance(home, Mapping) else list(home)
    copy[path[0]] = value if len(path) == 1 else _replaced(copy[path[0]], path[1:], value)
    return tuple(copy) if isinstance(home, tuple) else copy


Rule = Callable[[Call, tuple[Tensor, ...], Any], Push | None]


def pushforward(call: Call, moving: tuple[Tensor, ...], value: Any) -> Push:
    """The derivative of ``call`` at ``moving``, where it gave ``value``."""
    rule = RULES.get(call.func)
    push = None if rule is None else rule(call, moving, value)
    return partial(_by_jvp, call, moving) if push is None else push


def _by_jvp(call: Call, moving: tuple[Tensor, ...], *tangents: Tensor) -> Any:
    with jvp_safe():
        return torch.func.jvp(call, moving, tangents)[1]


def _linear(call: Call, _: tuple[Tensor, ...], __: Any) -> Push | None:
    """In its first argument."""
    return call if call.first_moves else None


def _affine(call: Call, _: tuple[Tensor, ...], __: Any) -> Push | None:
    """func(x, weight, bias, *settings)."""
    if not call.first_moves:
        return None
    named = {k: v for k, v in call.named.items() if k != "bias"}
    return replace(call, args=(*call.args[:2], *(None for _ in call.args[2:3]), *call.args[3:]), named=named)


def _multilinear(call: Call, moving: tuple[Tensor, ...], _: Any) -> Push | None:
    """In all of its tensors: one term for each that moves."""
    if call.positions is None:
        return None
    if len(moving) == 1:
        return call
    return lambda *tangents: _sum(call(*moving[:i], d, *moving[i + 1 :]) for i, d in enumerate(tangents))


def _additive(*places: int) -> Rule:
    """In the arguments at ``places`` together, tensors, numbers or lists of them; those that rest have no part."""

    def rule(call: Call, _: tuple[Tensor, ...], __: Any) -> Push | None:
        if not {path[0] for path in call.moving} <= {*places} or not call.named.keys() <= {"alpha", "dim"}:
            return None
        return replace(call, args=tuple(_zero(a) if i in places else a for i, a in enumerate(call.args)))

    return rule


def _zero(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_zero(v) for v in value]
    if isinstance(value, Tensor):
        return value.new_zeros(()).expand(value.shape)
    return type(value)() if isinstance(value, int | float | complex) else value  # 0 * inf is NaN


def _divided(call: Call, moving: tuple[Tensor, ...], value: Any) -> Push | None:
    return None if call.named.get("rounding_mode") else _linear(call, moving, value)


def _padded(call: Call, moving: tuple[Tensor, ...], value: Any) -> Push | None:
    other = len(call.args) > 3 or call.named.get("value")
    return None if other else _linear(call, moving, value)


def _by(tangent: Callable[..., Tensor]) -> Rule:
    """``tangent``: (tangent, x, *settings) of func(x, *settings), in x's dtype; the value is not kept."""

    def rule(call: Call, moving: tuple[Tensor, ...], value: Any) -> Push | None:
        if not call.first_moves or moving[0].dtype != value.dtype:
            return None
        return lambda d: tangent(d, moving[0], *call.args[1:], **call.named)

    return rule


def _softmax(call: Call, moving: tuple[Tensor, ...], value: Tensor) -> Push | None:
    dim = call.args[1] if len(call.args) > 1 else call.named.get("dim")
    if not call.first_moves or dim is None or moving[0].dtype != value.dtype:
        return None
    return lambda d: _softmax_tangent(d, value, dim)


def _attention(call: Call, moving: tuple[Tensor, ...], _: Any) -> Push | None:
    """O' = P V' + P' V, P = softmax(S), S = Q K^T scale + mask: the probabilities are computed again."""
    mask, scale = call.named.get("attn_mask"), call.named.get("scale")
    positions = call.positions
    if any(call.named.get(name) for name in ("dropout_p", "is_causal", "enable_gqa")) or len(call.args) != 3:
        return None
    if positions is None:
        return None
    query, key, value = _put(call.args, positions, moving)
    by = query.shape[-1] ** -0.5 if scale is None else scale

    def push(*tangents: Tensor) -> Tensor:
        d_query, d_key, d_value = _put((None, None, None), positions, tangents)
        share = torch.softmax(_masked((query * by) @ key.mT, mask), -1)
        if mask is not None:
            share = share.nan_to_num_(0.0)  # of a row that is masked altogether, which torch answers with zeros
        factors = ((d_query, key), (query, d_key))
        terms = [] if d_value is None else [share @ d_value]
        if d_query is not None or d_key is not None:
            turn = _sum((a * by) @ b.mT for a, b in factors if a is not None and b is not None)
            terms.append(_softmax_tangent(turn, share, -1) @ value)
        return _sum(terms)

    return push


def _masked(scores: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return scores
    return scores.masked_fill_(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask


def _put(values: Sequence[Any], positions: tuple[int, ...], others: tuple[Tensor, ...]) -> list[Any]:
    """``values`` with ``others`` at ``positions``."""
    by_position = dict(zip(positions, others, strict=True))
    return [by_position.get(i, value) for i, value in enumerate(values)]


def _sum(terms: Iterable[Tensor]) -> Tensor:
    """Adds to the first one; asks for the next when the last is gone."""
    return reduce(Tensor.add_, terms)


def _named(names: str) -> list[Callable[..., Any]]:
    """The functions and methods of these names."""
    found = (getattr(home, name, None) for name in names.split() for home in (torch, Tensor, functional))
    return [f for f in found if callable(f)]


# --- tangents by backward kernels


def _silu_tangent(tangent: Tensor, x: Tensor, inplace: bool = False) -> Tensor:
    """Here and below: tangent and argument of the function of this name, then its settings."""
    return _aten.silu_backward(tangent, x)


def _gelu_tangent(tangent: Tensor, x: Tensor, approximate: str = "none") -> Tensor:
    return _aten.gelu_backward(tangent, x, approximate=approximate)


def _group_norm_tangent(
    tangent: Tensor, x: Tensor, groups: int, weight: Tensor | None = None, bias: Any = None, eps: float = 1e-5
) -> Tensor:
    x = x.contiguous()
    sizes = (len(x), x.shape[1], x[0, 0].numel(), groups)
    _, mean, rstd = torch.native_group_norm(x, None, None, *sizes, eps)
    moved = _aten.native_group_norm_backward(tangent.contiguous(), x, mean, rstd, None, *sizes, _OF_INPUT)[0]
    return moved if weight is None else moved.mul_(weight.reshape(-1, *(1,) * (x.ndim - 2)))


def _layer_norm_tangent(
    tangent: Tensor, x: Tensor, shape: Sequence[int], weight: Tensor | None = None, bias: Any = None, eps: float = 1e-5
) -> Tensor:
    _, mean, rstd = torch.native_layer_norm(x, shape, None, None, eps)
    moved = _aten.native_layer_norm_backward(tangent, x, shape, mean, rstd, None, None, _OF_INPUT)[0]
    return moved if weight is None else moved.mul_(weight)


def _softmax_tangent(tangent: Tensor, value: Tensor, dim: int) -> Tensor:
    return _aten._softmax_backward_data(tangent, value, dim, value.dtype)


# --- the rules

_LINEAR = (
    "adaptive_avg_pool2d avg_pool1d avg_pool2d bfloat16 chunk clone contiguous cumsum double expand expand_as flatten "
    "flip float __getitem__ half index_select interpolate mean movedim narrow neg permute pixel_shuffle "
    "pixel_unshuffle repeat repeat_interleave reshape roll select split squeeze sum swapaxes t to transpose type "
    "unbind unflatten unsqueeze view"
)
_PROPERTIES: Any = Tensor
RULES: dict[Callable[..., Any], Rule] = {
    **dict.fromkeys((*_named(_LINEAR), _PROPERTIES.T.__get__, _PROPERTIES.mT.__get__), _linear),
    **dict.fromkeys(_named("linear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d"), _affine),
    **dict.fromkeys(_named("mul matmul bmm einsum"), _multilinear),
    **dict.fromkeys(_named("div"), _divided),
    **dict.fromkeys(_named("pad"), _padded),
    **dict.fromkeys(_named("add sub __rsub__"), _additive(0, 1)),
    **dict.fromkeys(_named("cat stack"), _additive(0)),
    torch.where: _additive(1, 2),
    **dict.fromkeys(_named("sin"), _by(lambda d, x: d * x.cos())),
    **dict.fromkeys(_named("cos"), _by(lambda d, x: -d * x.sin())),
    **dict.fromkeys(_named("exp"), _by(lambda d, x: d * x.exp())),
    **dict.fromkeys(_named("softmax"), _softmax),
    functional.silu: _by(_silu_tangent),
    functional.gelu: _by(_gelu_tangent),
    functional.group_norm: _by(_group_norm_tangent),
    functional.layer_norm: _by(_layer_norm_tangent),
    functional.scaled_dot_product_attention: _attention,
}
"""By function, as called: torch's own, a tensor's method or torch.nn.functional's."""
