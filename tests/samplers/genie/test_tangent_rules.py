"""Every rule for a tangent gives what torch.func.jvp of its function gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from genie_samplers import genie
from genie_samplers.forward_mode.recorder import Tape, record
from genie_samplers.forward_mode.rules import RULES

F64 = torch.float64


def normals(*shape: int, seed: int = 0, dtype: torch.dtype = F64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


X, Y = normals(2, 6, 4), normals(2, 6, 4, seed=1)
IMAGE = normals(2, 8, 4, 4)
QUERY, KEY, VALUE = normals(2, 3, 5, 8), normals(2, 3, 7, 8, seed=1), normals(2, 3, 7, 6, seed=2)
MASK = torch.arange(35).reshape(5, 7) % 3 > 0
HIDDEN = MASK & (torch.arange(5) != 2)[:, None]
ROWS = torch.tensor([1, 0, 1])

# name -> what moves, then what does not; for torch's function, the method and torch.nn.functional's
ARGUMENTS: dict[str, tuple[tuple[Any, ...], tuple[Any, ...]]] = {
    "adaptive_avg_pool2d": ((IMAGE,), (2,)),
    "avg_pool1d": ((X,), (2,)),
    "avg_pool2d": ((IMAGE,), (2,)),
    "bfloat16": ((X,), ()),
    "chunk": ((X,), (2, 1)),
    "clone": ((X,), ()),
    "contiguous": ((X.mT,), ()),
    "cumsum": ((X,), (1,)),
    "double": ((X.float(),), ()),
    "expand": ((X[:1],), (3, 6, 4)),
    "expand_as": ((X[:1],), (X,)),
    "flatten": ((X,), (1,)),
    "flip": ((X,), ((1,),)),
    "float": ((X,), ()),
    "__getitem__": ((X,), ((ROWS, slice(1, 3)),)),
    "half": ((X,), ()),
    "index_select": ((X,), (0, ROWS)),
    "interpolate": ((IMAGE,), (None, 2.0, "bilinear")),
    "mean": ((X,), ((1, 2),)),
    "movedim": ((X,), (0, 2)),
    "narrow": ((X,), (1, 2, 3)),
    "neg": ((X,), ()),
    "permute": ((X,), ((2, 0, 1),)),
    "pixel_shuffle": ((IMAGE,), (2,)),
    "pixel_unshuffle": ((IMAGE,), (2,)),
    "repeat": ((X,), (2, 1, 1)),
    "repeat_interleave": ((X,), (2, 1)),
    "reshape": ((X,), ((4, 12),)),
    "roll": ((X,), (1, 2)),
    "select": ((X,), (1, 2)),
    "split": ((X,), (4, 1)),
    "squeeze": ((X[:1],), (0,)),
    "sum": ((X,), ()),
    "swapaxes": ((X,), (0, 1)),
    "t": ((X[0],), ()),
    "to": ((X,), (torch.float32,)),
    "transpose": ((X,), (0, 1)),
    "type": ((X,), (torch.float32,)),
    "unbind": ((X,), (1,)),
    "unflatten": ((X,), (1, (2, 3))),
    "unsqueeze": ((X,), (1,)),
    "view": ((X,), (4, 12)),
    "linear": ((X,), (normals(5, 4), normals(5))),
    "conv1d": ((X,), (normals(5, 6, 3), normals(5), 1, 1)),
    "conv2d": ((IMAGE,), (normals(5, 8, 3, 3), normals(5), 2)),
    "conv3d": ((IMAGE[:, :, None],), (normals(5, 8, 1, 3, 3), normals(5))),
    "conv_transpose1d": ((X,), (normals(6, 5, 3), normals(5))),
    "conv_transpose2d": ((IMAGE,), (normals(8, 5, 3, 3), normals(5))),
    "conv_transpose3d": ((IMAGE[:, :, None],), (normals(8, 5, 1, 3, 3), normals(5))),
    "mul": ((X, Y), ()),
    "matmul": ((X, Y.mT), ()),
    "bmm": ((X, Y.mT), ()),
    "div": ((X,), (Y,)),
    "pad": ((X,), ((1, 2), "reflect")),
    "add": ((X, Y), ()),
    "sub": ((X, Y), ()),
    "__rsub__": ((X,), (1.0,)),
    "sin": ((X,), ()),
    "cos": ((X,), ()),
    "exp": ((X,), ()),
    "softmax": ((X,), (1,)),
    "silu": ((X,), ()),
    "gelu": ((X,), ()),
    "group_norm": ((IMAGE,), (4, normals(8), normals(8), 1e-3)),
    "layer_norm": ((IMAGE,), ((4, 4), normals(4, 4), normals(4, 4), 1e-3)),
    "scaled_dot_product_attention": ((QUERY, KEY, VALUE), ()),
}

HOMES = {"torch": torch, "Tensor": Tensor, "functional": functional}
NAMED = [(home, name) for name in ARGUMENTS for home, at in HOMES.items() if getattr(at, name, None) in RULES]

Function = Callable[..., Any]


def tangents_of(f: Function, moving: tuple[Tensor, ...]) -> tuple[Tape | None, list[Tensor], Tensor]:
    """The tape of f, flattened into one tensor; directions; and what torch.func.jvp makes of them."""

    def flat(*given: Tensor) -> Tensor:
        found = f(*given)
        return found if isinstance(found, Tensor) else torch.cat([part.flatten() for part in found])

    along = [normals(*m.shape, seed=9 + i).to(m.dtype) for i, m in enumerate(moving)]
    with genie.jvp_safe():
        wanted = torch.func.jvp(flat, moving, tuple(along))[1]
    return record(flat, moving)[1], along, wanted  # type: ignore[return-value]


def assert_rounding(found: Tensor, wanted: Tensor) -> None:
    """A sum of a hundred rounded products."""
    assert found.dtype == wanted.dtype and found.shape == wanted.shape
    precision = torch.finfo(wanted.dtype).eps
    assert float((found - wanted).abs().max()) <= 1e2 * precision * float(wanted.abs().max())


@pytest.fixture
def no_jvp(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def refuse(*_: object) -> NoReturn:
        raise AssertionError("there was no rule")

    return lambda: monkeypatch.setattr(torch.func, "jvp", refuse)


@pytest.mark.parametrize(("home", "name"), NAMED)
def test_each_function_has_its_tangent(home, name, no_jvp):
    moving, rest = ARGUMENTS[name]
    function = getattr(HOMES[home], name)
    tape, along, wanted = tangents_of(lambda *given: function(*given, *rest), moving)
    no_jvp()
    assert tape is not None
    assert_rounding(tape.push(*along), wanted)


WITH_RULES: dict[str, tuple[Function, tuple[Tensor, ...]]] = {
    "a property": (lambda x: x.mT, (X,)),
    "a matrix transposed": (lambda x: x[0].T, (X,)),
    "one tensor twice": (lambda x: x * x + x, (X,)),
    "a constant factor that broadcasts": (lambda x: x[0] * Y, (X,)),
    "a constant term that broadcasts": (lambda x: x[0] + Y, (X,)),
    "a constant minuend": (lambda x: torch.sub(Y, x), (X,)),
    "a number": (lambda x: 3.0 - (2.0 + x) / 4, (X,)),
    "a multiple": (lambda x, y: torch.add(x, y, alpha=3), (X, Y)),
    "a multiple of a constant": (lambda x: torch.add(x, Y, alpha=3), (X,)),
    "joined with a constant": (lambda x, y: torch.cat([x, Y, y], 1), (X, Y)),
    "stacked": (lambda x, y: torch.stack([x, Y, y], dim=1), (X, Y)),
    "chosen by a mask": (lambda x: torch.where(x > 0, x, Y), (X,)),
    "a number chosen by a mask": (lambda x: torch.where(x > 0, 0.5, x), (X,)),
    "an infinite number chosen by a mask": (
        lambda x: torch.softmax(torch.where((X > -0.5) | (torch.arange(4) == 0), x, -torch.inf), -1), (X,),
    ),
    "einsum": (lambda x, y: torch.einsum("bij,bkj->bik", x, y), (X, Y)),
    "a layer without bias": (lambda x: functional.linear(x, Y[0, :3]), (X,)),
    "a layer with its bias by name": (lambda x: functional.linear(x, Y[0, :3], bias=Y[0, :3, 0]), (X,)),
    "padding by zeros": (lambda x: functional.pad(x, (1, 2)), (X,)),
    "nn.Softmax": (nn.Softmax(dim=1), (X,)),
    "gelu by tanh": (lambda x: functional.gelu(x, approximate="tanh"), (X,)),
    "group_norm without weights": (lambda x: functional.group_norm(x, 2), (X,)),
    "group_norm of a transposed image": (lambda x: functional.group_norm(x.mT, 2), (IMAGE,)),
    "layer_norm without weights": (lambda x: functional.layer_norm(x, (4,)), (X,)),
    "self-attention": (lambda x: functional.scaled_dot_product_attention(x, x, x), (QUERY,)),
    "attention to a constant": (lambda q: functional.scaled_dot_product_attention(q, KEY, VALUE), (QUERY,)),
    "attention to constant keys": (lambda q, v: functional.scaled_dot_product_attention(q, KEY, v), (QUERY, VALUE)),
    "attention of a constant": (lambda k: functional.scaled_dot_product_attention(QUERY, k, VALUE), (KEY,)),
    "attention to moving values": (lambda v: functional.scaled_dot_product_attention(QUERY, KEY, v), (VALUE,)),
    "attention with a bool mask": (
        lambda q, k: functional.scaled_dot_product_attention(q, k, VALUE, attn_mask=MASK), (QUERY, KEY),
    ),
    "attention with a row masked altogether": (
        lambda q, k, v: functional.scaled_dot_product_attention(q, k, v, attn_mask=HIDDEN), (QUERY, KEY, VALUE),
    ),
    "attention with a float mask": (
        lambda q, k: functional.scaled_dot_product_attention(q, k, VALUE, attn_mask=normals(5, 7)), (QUERY, KEY),
    ),
    "attention with a scale": (
        lambda q, k, v: functional.scaled_dot_product_attention(q, k, v, scale=0.7), (QUERY, KEY, VALUE),
    ),
    "dropout in evaluation": (lambda x: 2.0 * functional.dropout(x, 0.5, training=False), (X,)),
    "an iterated tensor": (lambda x: [2.0 * part for part in x], (X,)),
    "a mask made of it": (lambda x: x * (x > 0).to(F64), (X,)),
}  # fmt: skip


@pytest.mark.parametrize(("function", "moving"), WITH_RULES.values(), ids=WITH_RULES)
def test_arguments_that_rest_have_no_tangent(function, moving, no_jvp):
    tape, along, wanted = tangents_of(function, moving)
    no_jvp()
    assert tape is not None
    assert_rounding(tape.push(*along), wanted)


WITHOUT: dict[str, tuple[Function, tuple[Tensor, ...]]] = {
    "a function that has none": (functional.softplus, (X,)),
    "a moving divisor": (lambda x, y: x / (1.5 + y.sigmoid()), (X, Y)),
    "a rounded quotient": (lambda x: x + torch.div(x, 0.3, rounding_mode="floor"), (X,)),
    "a power": (lambda x: x**2, (X,)),
    "padding by a number": (lambda x: functional.pad(x, (1, 2), value=3.0), (X,)),
    "a mask of a method": (lambda x: Y.where(Y > 0, x), (X,)),
    "a constant term by name": (lambda x: torch.add(x, other=Y), (X,)),
    "a moving term by name": (lambda x: torch.add(Y, other=x), (X,)),
    "a moving argument by name": (lambda x: functional.silu(input=x), (X,)),
    "a moving weight": (lambda x, w: functional.linear(x, w), (X, normals(5, 4))),
    "a moving bias": (lambda b: functional.linear(X, normals(5, 4), b), (normals(5),)),
    "a moving weight of group_norm": (lambda w: functional.group_norm(X, 2, w), (normals(6),)),
    "softmax into another dtype": (lambda x: functional.softmax(x, 1, dtype=torch.float32), (X,)),
    "causal attention": (lambda q: functional.scaled_dot_product_attention(q, q, q, is_causal=True), (QUERY,)),
    "attention with a moving mask": (
        lambda m: functional.scaled_dot_product_attention(QUERY, KEY, VALUE, attn_mask=m), (normals(5, 7),),
    ),
    "einsum of a list": (lambda x, y: torch.einsum("bij,bkj->bik", [x, y]), (X, Y)),
    "lists without a rule": (lambda x, y: torch.hstack([x, Y, y]), (X, Y)),
    "what rounds": (lambda x: x + x.round(), (X,)),
    "what is detached": (lambda x: x + x.detach() * x, (X,)),
    "several values": (lambda x: torch.topk(x, 2)[0], (X,)),
}  # fmt: skip


@pytest.mark.parametrize(("function", "moving"), WITHOUT.values(), ids=WITHOUT)
def test_functions_without_a_rule_are_differentiated_one_by_one(function, moving):
    tape, along, wanted = tangents_of(function, moving)
    assert tape is not None
    assert_rounding(tape.push(*along), wanted)


class Seen(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.functions: list[Function] = []

    def __torch_function__(self, func: Function, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.functions.append(func)
        return func(*args, **(kwargs or {}))


def test_every_case_has_its_rule():
    assert {name for _, name in NAMED} == ARGUMENTS.keys()


def test_every_rule_has_its_case():
    named = {getattr(HOMES[home], name) for home, name in NAMED}
    with Seen() as seen:
        _ = [function(*moving) for function, moving in WITH_RULES.values()]
    missing = [f for f in RULES if f not in named and f not in seen.functions]
    assert not missing
