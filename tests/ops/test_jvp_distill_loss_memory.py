"""Large gradients on the CPU take memory that earlier ones gave back, and only that."""

from __future__ import annotations

import pytest
import torch

from genie_ext import backends, jvp_distill_loss
from genie_ext.testing import assert_same_bits

pytestmark = pytest.mark.skipif(backends()["jvp_distill_loss"]["cpu"] != "available", reason="not built")

LARGE = (2, 1, 400, 401)  # a gradient of 3.7 MiB


def maps_and_loss(error, dtype):
    maps = torch.zeros(LARGE[0], 3, *LARGE[2:], dtype=dtype, requires_grad=True)
    return maps, jvp_distill_loss(maps, torch.full(LARGE, error, dtype=dtype), torch.ones(LARGE[0]))


def gradient(error=1.0, dtype=torch.float32):
    maps, loss = maps_and_loss(error, dtype)
    return torch.autograd.grad(loss, maps)[0]


def test_the_memory_of_a_freed_gradient_is_taken_again():
    first = gradient()
    place = first.data_ptr()
    del first
    assert gradient(2.0).data_ptr() == place


@pytest.mark.parametrize("hold", [lambda g: g, lambda g: g[1:], lambda g: g.numpy()], ids=["whole", "view", "numpy"])
def test_a_gradient_that_is_held_keeps_its_values(hold):
    held = hold(gradient())
    before = torch.as_tensor(held).clone()
    gradient(2.0)
    gradient(3.0)
    assert_same_bits(torch.as_tensor(held), before)


def test_the_grad_of_a_leaf_keeps_its_values():
    expected = gradient().clone()
    maps, loss = maps_and_loss(1.0, torch.float32)
    loss.backward()
    gradient(2.0)
    assert maps.grad is not None
    assert_same_bits(maps.grad, expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16], ids=["f64", "f16", "bf16"])
def test_gradients_of_other_dtypes(dtype):
    found = gradient(dtype=dtype)
    assert (found.dtype, found.is_contiguous()) == (dtype, True)
