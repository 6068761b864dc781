"""The reference runs on devices without float64: it makes none unless the state is of float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from genie_ext import fused_step, normal_fill
from genie_ext.ops.normal_fill.reference import square_root
from genie_ext.testing import StepCase, assert_same_bits

F32, F16, BF16 = torch.float32, torch.float16, torch.bfloat16


class NoFloat64(TorchDispatchMode):
    """Raises where an operation makes a float64 tensor."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor) and leaf.dtype == torch.float64:
                raise AssertionError(f"{func} makes a float64 tensor of shape {tuple(leaf.shape)}")
        return result


def test_float64_is_noticed():
    with pytest.raises(AssertionError, match="makes a float64 tensor"), NoFloat64():
        torch.ones(3).double()


@pytest.mark.parametrize("dtype", [F32, F16, BF16], ids=["f32", "f16", "bf16"])
def test_normal_fill_makes_none(dtype):
    noise, out = StepCase().inputs()["noise"], torch.empty(3, 50, dtype=dtype)
    with NoFloat64():
        normal_fill(out, noise=noise, backend="reference")
    assert bool(out.isfinite().all())


@pytest.mark.parametrize("state", [F32, F16, BF16], ids=["f32", "f16", "bf16"])
def test_fused_step_makes_none(state):
    case = StepCase(
        state=state,
        outputs=(F32, F16, BF16),
        converted=2,
        history=2,
        draws=(3, F32),
        aux=True,
        aux_out=True,
        store=(True, True),
        clamped=True,
    )
    inputs, flags = case.inputs(), torch.zeros(case.batch, dtype=torch.int32)
    with NoFloat64():
        result = fused_step(**inputs, aux_out=True, store=[True, True], x_in=BF16, nonfinite=flags, backend="reference")
    assert bool(result.out.isfinite().all())


product = pytest.mark.product


@pytest.mark.parametrize(
    ("exponent", "step"),
    [(126, 1), (127, 1), (1, 17), (254, 17), pytest.param(1, 1, marks=product), pytest.param(254, 1, marks=product)],
)
def test_the_square_root_is_correctly_rounded(exponent, step):
    """Of every mantissa, and of many at the ends; two neighbouring exponents are all cases there are."""
    s = (torch.arange(0, 2**23, step, dtype=torch.int32) + (exponent << 23)).view(F32)
    assert_same_bits(square_root(s), torch.sqrt(s.double()).float())


@pytest.mark.parametrize("ulps", [-2, -1, 1, 2])
def test_a_device_may_round_its_square_root_carelessly(monkeypatch, ulps):
    s = (torch.arange(2**19, dtype=torch.int32) * 32 + (126 << 23)).view(F32)  # two exponents
    root = torch.sqrt(s.double()).float()
    monkeypatch.setattr(torch, "sqrt", lambda value: (root.view(torch.int32) + ulps).view(F32))
    assert_same_bits(square_root(s), root)
