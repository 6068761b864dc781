"""The noise source shared by the ops that draw."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .._checks import check_integer, check_memory, check_same_device, check_shape, check_tensor, check_word

__all__ = ["Noise", "check_noise", "check_noise_types", "is_regular_noise", "is_regular_vector"]

_MAX_ELEMENTS = 2**34  # four to each 32-bit counter


class Noise(NamedTuple):
    """Where in-kernel draws come from; lives on the device so that a captured graph does not repeat its noise.

    seed: int64 [1], the 64 bits of the Philox key. sample_ids: int64 [B], each in 0..2^32-1. stream: 0 initial state,
    1 plan draws, 2 training, 3 forward re-noising.
    """

    seed: Tensor
    sample_ids: Tensor
    stream: int = 1


def check_noise_types(noise: object) -> Noise:
    """The Python types; returns the noise with a plain integer as its stream."""
    if not isinstance(noise, Noise):
        raise TypeError(f"noise: a {type(noise).__name__}; pass genie_ext.Noise(seed, sample_ids, stream)")
    seed, sample_ids = check_tensor("noise.seed", noise.seed), check_tensor("noise.sample_ids", noise.sample_ids)
    return Noise(seed, sample_ids, check_integer("noise.stream", noise.stream))


def check_noise(noise: Noise, x: Tensor) -> None:
    """Shapes, dtypes and device of the noise source; also used by normal_fill."""
    for name, tensor, count in (("seed", noise.seed, 1), ("sample_ids", noise.sample_ids, x.shape[0])):
        check_memory(f"noise.{name}", tensor)
        check_shape(f"noise.{name}", tensor, (count,))
        check_same_device(f"noise.{name}", tensor, x.device)
        if tensor.dtype != torch.int64 or not tensor.is_contiguous():
            raise TypeError(f"noise.{name}: dtype {tensor.dtype}; need a contiguous int64 tensor of shape [{count}]")
    check_word("noise.stream", noise.stream)
    elements = x.numel() // x.shape[0]
    if elements > _MAX_ELEMENTS:
        raise ValueError(
            f"noise: {elements} elements per sample; the generator's 32-bit counter repeats after 2^34, so use "
            "several samples"
        )


def is_regular_noise(noise: Noise, x: Tensor) -> bool:
    """A quick look that passes only what ``check_noise`` passes."""
    return (
        is_regular_vector(noise.seed, 1, torch.int64, x.device)
        and is_regular_vector(noise.sample_ids, x.shape[0], torch.int64, x.device)
        and type(noise.stream) is int
        and 0 <= noise.stream < 2**32
        and x.numel() <= _MAX_ELEMENTS
    )


def is_regular_vector(tensor: Tensor, count: int, dtype: torch.dtype, device: torch.device) -> bool:
    return (
        type(tensor) is Tensor
        and tensor.dtype is dtype
        and tensor.shape == (count,)
        and tensor.is_contiguous()
        and tensor.device == device
        and tensor.data_ptr() != 0
    )
