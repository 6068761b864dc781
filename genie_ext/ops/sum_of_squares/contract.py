"""The call that every backend of ``sum_of_squares`` receives, and its checks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..._checks import check_apart, check_float, check_memory, check_same_device, check_samples, check_shape

__all__ = ["SumOfSquaresCall", "check"]


@dataclass(slots=True)
class SumOfSquaresCall:
    """out[b] = the sum of x[b]^2; x [B, ...] of any float dtype, dense within a sample; out [B] float64, contiguous."""

    x: Tensor
    out: Tensor


def check(call: SumOfSquaresCall) -> None:
    check_samples("x", call.x)
    check_memory("out", call.out)
    check_float("out", call.out, torch.float64)
    check_shape("out", call.out, call.x.shape[:1])
    check_same_device("out", call.out, call.x.device)
    if not call.out.is_contiguous():
        raise ValueError(f"out: strides {call.out.stride()}; pass a contiguous tensor")
    check_apart([("out", call.out)], [("x", call.x)])
