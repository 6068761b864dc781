"""Forward mode through every op, on every backend: the right tangent, or an error, never a silent zero."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad

import genie_ext
from genie_ext import Noise, fused_step, jvp_distill_loss, normal_fill, spectral_filter, sum_of_squares
from genie_ext._dispatch import OPS

ROOT = Path(__file__).parents[2]
F64 = torch.float64
X, DIRECTION = torch.tensor([[0.3, -0.8], [1.7, 0.2]], dtype=F64), torch.tensor([[1.0, 0.5], [-0.4, 2.0]], dtype=F64)
ROW = torch.tensor([0.2, 0.7, 1.2, 1.5, 0.9, -0.4, 1.0], dtype=F64)  # p, q, bound, scale; x, y; next input


def step(x: Tensor, backend: str | None) -> Tensor:
    return fused_step(x, [torch.sin(x)], row=ROW, converted=1, backend=backend).out


def fill(x: Tensor, backend: str | None) -> Tensor:
    noise = Noise(torch.tensor([1]), torch.arange(2))
    return normal_fill(x * 1.0, noise=noise, backend=backend)


def loss(x: Tensor, backend: str | None) -> Tensor:
    maps = 0.5 * torch.cat((x, torch.sin(x), x * x), 1)
    gamma = torch.tensor([0.5, 2.0], dtype=F64)
    return jvp_distill_loss(maps, torch.zeros_like(X), gamma, reduction="none", backend=backend)


def filtered(x: Tensor, backend: str | None) -> Tensor:
    frequency = torch.tensor([[0.5, 0.8], [1.0, 1.3]], dtype=F64)
    return spectral_filter(torch.sin(x)[None], frequency, 2 * frequency, backend=backend)


def squares(x: Tensor, backend: str | None) -> Tensor:
    return sum_of_squares(torch.sin(x), backend=backend)


FUNCTIONS: dict[str, Callable[[Tensor, str | None], Tensor]] = {
    "fused_step": step,
    "jvp_distill_loss": loss,
    "normal_fill": fill,
    "spectral_filter": filtered,
    "sum_of_squares": squares,
}
DIFFERENTIABLE = {(op, backend) for op in FUNCTIONS if op != "normal_fill" for backend in (None, "reference")}


def by_func(f: Callable[[Tensor], Tensor]) -> Tensor:
    return torch.func.jvp(f, (X,), (DIRECTION,))[1]


def by_duals(f: Callable[[Tensor], Tensor]) -> Tensor:
    with forward_ad.dual_level():
        tangent = forward_ad.unpack_dual(f(forward_ad.make_dual(X, DIRECTION))).tangent
    assert tangent is not None
    return tangent


def available(op: str) -> list[str | None]:
    return [None, *genie_ext.available_backends(op)]


ALL = [(op, backend) for op in FUNCTIONS for backend in available(op)]
every_mode = pytest.mark.parametrize("mode", [by_func, by_duals])


def test_every_op_is_tested_here():
    assert set(FUNCTIONS) == set(OPS)


@every_mode
@pytest.mark.parametrize(("op", "backend"), [case for case in ALL if case in DIFFERENTIABLE])
def test_the_tangent_equals_a_finite_difference(op, backend, mode):
    h = 1e-5
    difference = (FUNCTIONS[op](X + h * DIRECTION, "reference") - FUNCTIONS[op](X - h * DIRECTION, "reference")) / (
        2 * h
    )
    # h^2 / 6 times a third derivative below 8, and the rounding of values below 2
    bound = 8.0 * h**2 + 2.0 * torch.finfo(F64).eps / h
    assert float((mode(lambda x: FUNCTIONS[op](x, backend)) - difference).abs().max()) <= bound


@every_mode
@pytest.mark.parametrize(("op", "backend"), [case for case in ALL if case not in DIFFERENTIABLE])
def test_a_tangent_that_would_be_lost_is_refused(op, backend, mode):
    with pytest.raises(ValueError, match=r"tangent|does not differentiate|transform"):
        mode(lambda x: FUNCTIONS[op](x, backend))


def functions_without_jvp(text: str) -> list[str]:
    """Classes derived from autograd.Function that have no ``jvp``."""
    return [
        node.name
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ClassDef)
        and any(ast.unparse(base).split(".")[-1] == "Function" for base in node.bases)
        and "jvp" not in {part.name for part in node.body if isinstance(part, ast.FunctionDef)}
    ]


def test_a_function_without_jvp_is_found():
    text = "class A(torch.autograd.Function): pass\nclass B(Function):\n    def jvp(ctx, t): pass\nclass C: pass"
    assert functions_without_jvp(text) == ["A"]


def test_every_autograd_function_has_a_jvp():
    sources = [*(ROOT / "genie_ext").rglob("*.py"), *(ROOT / "python").rglob("*.py")]
    found = {path.name: functions_without_jvp(path.read_text(encoding="utf-8")) for path in sources}
    assert not {name: names for name, names in found.items() if names}
