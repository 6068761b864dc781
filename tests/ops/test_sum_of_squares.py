"""sum_of_squares: exact where it can be, and the same bits however it is computed."""

from __future__ import annotations

import pytest
import torch

import genie_ext
from genie_ext import sum_of_squares
from genie_ext.ops.tree_sum import tree_sum
from genie_ext.testing import SentinelView, assert_same_bits, poisoned_empty

from .spectral import BF16, F16, F32, F64, white

LENGTHS = [0, 1, 127, 1024, 1025, 5000, 3 * 64 * 64]
by_length = pytest.mark.parametrize("length", LENGTHS)
by_backend = pytest.mark.parametrize("backend", genie_ext.available_backends("sum_of_squares"))


@by_backend
@by_length
def test_whole_numbers_are_summed_exactly(backend, length):
    x = torch.arange(2 * length, dtype=F32).view(2, length) % 911
    assert_same_bits(sum_of_squares(x, backend=backend), x.long().square().sum(1).double())


@by_length
@pytest.mark.parametrize("dtype", [F32, F64, F16, BF16], ids=["f32", "f64", "f16", "bf16"])
@pytest.mark.parametrize("gap", [0, 5])
def test_the_cpu_has_the_bits_of_the_reference(length, dtype, gap):
    x = SentinelView(3, length, dtype=dtype, gap=gap).tensor.copy_(white(3, length))
    assert_same_bits(sum_of_squares(x), sum_of_squares(x, backend="reference"))


def test_the_order_is_that_of_the_tree():
    squares = white(1, 3000).square()
    first, second = squares[:, :1024], squares[:, 1024:2048]
    last = torch.nn.functional.pad(squares[:, 2048:], (0, 72))
    blocks = [tree_sum(block) for block in (first, second, last)]
    assert_same_bits(sum_of_squares(white(1, 3000)), (blocks[0] + blocks[2]) + blocks[1])


@pytest.mark.parametrize("batch", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_sample_has_the_same_bits_in_any_batch_and_with_any_threads(batch, threads):
    x, before = white(64, 3, 40, 41, dtype=F32), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        together = sum_of_squares(x)
        torch.set_num_threads(threads)
        assert_same_bits(sum_of_squares(x[-batch:]), together[-batch:])
    finally:
        torch.set_num_threads(before)


def test_it_writes_where_it_is_told():
    x, out = white(3, 100), poisoned_empty(3, dtype=F64)
    assert sum_of_squares(x, out=out) is out
    assert_same_bits(out, sum_of_squares(x))


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_what_is_not_finite_stays_so_in_its_sample(value):
    x = torch.ones(2, 10)
    x[1, 3] = value
    assert_same_bits(sum_of_squares(x), torch.tensor([10.0, value], dtype=F64))


def test_large_and_small_numbers_neither_overflow_nor_vanish():
    x = torch.tensor([[3e38, 3e38], [1e-45, 1e-45]])
    assert_same_bits(sum_of_squares(x), 2 * x[:, 0].double() ** 2)


def test_the_gradient_is_twice_the_sample():
    x = white(3, 4, 5).requires_grad_()
    (gradient,) = torch.autograd.grad(sum_of_squares(x).sum(), x)
    assert_same_bits(gradient, 2 * x.detach())
