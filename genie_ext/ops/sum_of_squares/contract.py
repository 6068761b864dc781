"""The call that every backend of ``sum_of_squares`` receives, and its checks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..._checks import (
    check_dense_samples,
    check_float,
    check_memory,
    check_no_overlap,
    check_same_device,
    check_shape,
    regions,
)

__all__ = ["SumOfSquaresCall", "check", "check_x"]


@dataclass(slots=True)
class SumOfSquaresCall:
    """out[b] = the sum of x[b]^2; x [B, ...] of any float dtype, dense within a sample; out [B] float64, contiguous."""

    x: Tensor
    out: Tensor


def check(call: SumOfSquaresCall) -> None:
    check_x(call.x)
    check_memory("out", call.out)
    check_float("out", call.out, torch.float64)
    check_shape("out", call.out, call.x.shape[:1])
    check_same_device("out", call.out, call.x.device)
    if not call.out.is_contiguous():
        raise ValueError(f"out: strides {call.out.stride()}; pass a contiguous tensor")
    for out in regions([("out", call.out)]):
        for source in regions([("x", call.x)]):
            check_no_overlap(out, source)


def check_x(x: Tensor) -> None:
    check_memory("x", x)
    check_float("x", x)
    if x.ndim < 1 or x.shape[0] < 1:
        raise ValueError(f"x: shape {tuple(x.shape)}; need [B, ...] with at least one sample")
    check_dense_samples("x", x)
