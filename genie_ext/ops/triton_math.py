"""Triton pieces shared by the ops: samples in memory, storage types, counter-based normals.

Requirements: IEEE operations only, each rounded once, no contraction (``LAUNCH_OPTIONS``);
bfloat16 travels as int16 and is rounded in integers, because the interpreter's own casts truncate.
Names and steps are those of normal_fill/reference.py and rounding.py.
"""

# Triton's language is not typed as Python runs it
# pyright: reportArgumentType=false, reportGeneralTypeIssues=false

from __future__ import annotations

import os
import struct
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from .normal_fill import constants

__all__ = [
    "BLOCK",
    "LAUNCH_OPTIONS",
    "Samples",
    "current_device",
    "load",
    "negative_zeros",
    "normals",
    "place",
    "samples",
    "signed_word",
    "store",
    "widen",
]

# A program of the interpreter costs milliseconds whatever its size.
BLOCK = 4096 if os.environ.get("TRITON_INTERPRET") == "1" else 1024
LAUNCH_OPTIONS = {"BLOCK": BLOCK, "num_warps": 4, "enable_fp_fusion": False}


def _f32(bits: int) -> float:
    return struct.unpack("<f", struct.pack("<I", bits))[0]


_MANTISSA_ORIGIN = tl.constexpr(constants.MANTISSA_ORIGIN)
_MINUS_TWO_LN_2 = tl.constexpr(_f32(constants.MINUS_TWO_LN_2))
_LOG = tl.constexpr(tuple(_f32(bits) for bits in constants.LOG))
_SINE = tl.constexpr(tuple(_f32(bits) for bits in constants.SINE))
_COSINE = tl.constexpr(tuple(_f32(bits) for bits in constants.COSINE))
_PHILOX_ROUNDS = tl.constexpr(constants.PHILOX_ROUNDS)


class Samples(NamedTuple):
    """[B, elements] in memory: its start, and the elements from one sample to the next."""

    pointer: Tensor
    stride: int


def samples(tensor: Tensor) -> Samples:
    stored = tensor.view(torch.int16) if tensor.dtype == torch.bfloat16 else tensor
    return Samples(stored, tensor.stride(0))


def signed_word(word: int) -> int:
    """The int32 with the bits of a 32-bit word: one argument type for all such numbers."""
    return word - 2**32 if word >= 2**31 else word


def current_device(device: torch.device) -> AbstractContextManager[object]:
    """Triton launches on the current device, not on that of its arguments."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


@triton.jit
def place(elements, BLOCK: tl.constexpr):
    """The sample of this program and its first element; int64, since 2^31 elements and a block overflow int32."""
    blocks = tl.cdiv(tl.cast(elements, tl.int64), BLOCK)
    return tl.program_id(0) // blocks, (tl.program_id(0) % blocks) * BLOCK


@triton.jit
def load(source, sample, offset, count, compute: tl.constexpr):
    """Elements ``offset`` of a sample in the compute dtype; 0 from ``count`` on."""
    stored = tl.load(source.pointer + sample * source.stride + offset, mask=offset < count, other=0)
    return widen(stored, compute)


@triton.jit
def store(target, sample, offset, value, mask):
    """Round once, write, and return what was written."""
    stored = _round_to(value, target.pointer.dtype.element_ty)
    tl.store(target.pointer + sample * target.stride + offset, stored, mask=mask)
    return stored


@triton.jit
def widen(stored, compute: tl.constexpr):
    if stored.dtype == tl.int16:
        return (stored.to(tl.int32) << 16).to(tl.float32, bitcast=True).to(compute)
    else:
        return stored.to(compute)


@triton.jit
def _round_to(value, storage: tl.constexpr):
    if storage == tl.int16:
        return _bfloat16_bits(_float32_round_to_odd(value))
    elif storage == tl.float16:
        return _float32_round_to_odd(value).to(tl.float16)
    else:
        return value.to(storage)


@triton.jit
def _float32_round_to_odd(value):
    """float64 to float32, truncated, the last bit set where inexact: rounds on without harm."""
    if value.dtype == tl.float64:
        nearest = value.to(tl.float32)
        bits = nearest.to(tl.int32, bitcast=True)
        inexact = (nearest.to(tl.float64) != value) & (value == value)
        too_large = inexact & (tl.abs(nearest.to(tl.float64)) > tl.abs(value))
        truncated = tl.where(too_large, bits - 1, bits)
        return tl.where(inexact, truncated | 1, truncated).to(tl.float32, bitcast=True)
    else:
        return value


@triton.jit
def _bfloat16_bits(value):
    """To nearest even in integers: what is added carries into the 16 bits that are kept."""
    bits = value.to(tl.int32, bitcast=True)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return tl.where(value == value, rounded, 0x7FC0).to(tl.int16)


@triton.jit
def negative_zeros(BLOCK: tl.constexpr, compute: tl.constexpr):
    """The exact identity of IEEE addition. By its bits: Triton 3.7 turns -0.0 into +0.0."""
    return tl.full((BLOCK,), -2147483648, tl.int32).to(tl.float32, bitcast=True).to(compute)


@triton.jit
def normals(seed, sample_ids, sample, draw, stream, first, BLOCK: tl.constexpr):
    """float32 [BLOCK]: elements ``first``, ... of the sample; ``first`` is a multiple of 4."""
    counter = (first // 4 + tl.arange(0, BLOCK // 4)).to(tl.uint32)
    sample_id = tl.load(sample_ids + sample).to(tl.uint32)
    # cast, not .to(): a number equal to 1 may arrive as a constant
    draw_word = tl.cast(draw, tl.uint32)
    stream_word = tl.cast(stream, tl.uint32)
    x0, x1, x2, x3 = tl.philox(tl.load(seed), counter, draw_word, sample_id, stream_word, _PHILOX_ROUNDS)
    z0, z1 = _box_muller(x0, x1)
    z2, z3 = _box_muller(x2, x3)
    return tl.reshape(tl.join(tl.join(z0, z2), tl.join(z1, z3)), (BLOCK,))


@triton.jit
def _box_muller(radius_word, angle_word):
    """Two normals (cosine, sine) from two 32-bit words."""
    radius = _radius(radius_word.to(tl.int32, bitcast=True))
    cosine, sine = _cosine_sine(angle_word)
    return radius * cosine, radius * sine


@triton.jit
def _radius(word):
    """sqrt(-2 ln U), U = (word + 1/2) / 2^32."""
    sign = word >> 31
    k = word ^ sign
    a = (k.to(tl.float32) + 0.5) * 2.3283064365386963e-10
    u = tl.where(sign != 0, 1.0 - a, a)
    reduced = u.to(tl.int32, bitcast=True) - _MANTISSA_ORIGIN  # mantissa in [2/3, 4/3)
    exponent = reduced >> 23
    f = ((reduced & 0x7FFFFF) + _MANTISSA_ORIGIN).to(tl.float32, bitcast=True) - 1.0
    f = tl.where(exponent == 0, -1.0 * a, f)  # U >= 2/3: the low bits that 1 - a lost
    s = exponent.to(tl.float32) * _MINUS_TWO_LN_2 + f * _horner(_LOG, 8, f)
    return tl.sqrt_rn(s)  # tl.sqrt is approximate


@triton.jit
def _cosine_sine(word):
    """cos and sin of 2 pi (word + 1/2) / 2^32."""
    quarter = ((word + 0x20000000) >> 30).to(tl.int32)
    t = ((word << 2) | 2).to(tl.int32, bitcast=True).to(tl.float32) * 2.3283064365386963e-10
    w = t * t  # t in quarter turns, [-1/2, 1/2]
    sine = _horner(_SINE, 3, w) * t
    cosine = _horner(_COSINE, 4, w)
    odd = (quarter & 1) != 0
    c, d = tl.where(odd, sine, cosine), tl.where(odd, cosine, sine)
    return _flip_sign(c, (quarter + 1) & 2), _flip_sign(d, quarter & 2)


@triton.jit
def _flip_sign(value, two_if_negative):
    return (value.to(tl.int32, bitcast=True) ^ (two_if_negative << 30)).to(tl.float32, bitcast=True)


@triton.jit
def _horner(coefficients: tl.constexpr, degree: tl.constexpr, x):
    """Polynomial with coefficients given lowest power first."""
    total = tl.full(x.shape, coefficients[degree], tl.float32)
    for i in tl.static_range(1, degree + 1):
        total = total * x + coefficients[degree - i]
    return total
