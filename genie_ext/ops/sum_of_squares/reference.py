"""sum_of_squares in plain torch: the definition. Every product and sum is rounded once, in this order."""

from __future__ import annotations

from torch import Tensor

from ..tree_sum import block_sum
from .contract import SumOfSquaresCall

__all__ = ["run", "sums"]


def run(call: SumOfSquaresCall) -> None:
    call.out.copy_(sums(call.x))


def sums(x: Tensor) -> Tensor:
    """float64 [B]; differentiable."""
    # 1 widen
    values = x.reshape(x.shape[0], x.shape[1:].numel()).double()
    # 2 square, 3 sum
    return block_sum(values * values)
