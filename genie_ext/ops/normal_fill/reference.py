"""Counter-based standard normals in plain torch: the definition.

Philox4x32-10 (Salmon et al. 2011), key = seed, counter = (element // 4, draw, sample id, stream); the four words make
two Box-Muller pairs in float32 from IEEE add, multiply and square root alone (no libm), so that every backend gives the
same bits.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..rounding import round_to
from .constants import (
    COSINE,
    LOG,
    MANTISSA_ORIGIN,
    MINUS_TWO_LN_2,
    PHILOX_KEY_STEPS,
    PHILOX_MULTIPLIERS,
    PHILOX_ROUNDS,
    SINE,
)
from .contract import NormalFillCall

__all__ = ["box_muller", "normals", "philox", "run", "square_root"]

_WORD = 0xFFFFFFFF


def run(call: NormalFillCall) -> None:
    out = call.out
    z = normals(call.noise.seed, call.noise.sample_ids, call.draw, call.noise.stream, out[0].numel())
    out.copy_(round_to(z.reshape(out.shape), out.dtype))


def normals(seed: Tensor, sample_ids: Tensor, draw: int, stream: int, count: int) -> Tensor:
    """float32 [B, count]: element e of sample id i is a function of (seed, i, draw, stream, e) alone."""
    blocks = torch.arange((count + 3) // 4, device=seed.device)
    counter = torch.broadcast_tensors(
        blocks[None, :],
        torch.tensor(draw, device=seed.device),
        sample_ids[:, None] & _WORD,
        torch.tensor(stream, device=seed.device),
    )
    words = philox(counter, (seed & _WORD, (seed >> 32) & _WORD))
    pairs = (*box_muller(words[0], words[1]), *box_muller(words[2], words[3]))
    return torch.stack(pairs, dim=-1).flatten(1)[:, :count]


def philox(
    counter: tuple[Tensor, ...] | list[Tensor], key: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Philox4x32-10 on words held in int64; Random123's order of counter, key and result words."""
    x0, x1, x2, x3 = counter
    k0, k1 = key
    m0, m1 = PHILOX_MULTIPLIERS
    for _ in range(PHILOX_ROUNDS):
        product0, product1 = x0 * m0, x2 * m1  # wraps modulo 2^64; the high word is right all the same
        x0, x1, x2, x3 = (
            ((product1 >> 32) & _WORD) ^ x1 ^ k0,
            product1 & _WORD,
            ((product0 >> 32) & _WORD) ^ x3 ^ k1,
            product0 & _WORD,
        )
        k0, k1 = (k0 + PHILOX_KEY_STEPS[0]) & _WORD, (k1 + PHILOX_KEY_STEPS[1]) & _WORD
    return x0, x1, x2, x3


def box_muller(radius_word: Tensor, angle_word: Tensor) -> tuple[Tensor, Tensor]:
    """Two normals (cosine, sine) from two 32-bit words held in int64."""
    radius = _radius(_as_int32(radius_word))
    cosine, sine = _cosine_sine(_as_int32(angle_word))
    return radius * cosine, radius * sine


def _radius(word: Tensor) -> Tensor:
    """sqrt(-2 ln U), U = (word + 1/2) / 2^32."""
    sign = word >> 31
    k = word ^ sign
    a = (k.float() + 0.5) * 2.0**-32
    u = torch.where(sign != 0, 1.0 - a, a)
    reduced = u.view(torch.int32) - MANTISSA_ORIGIN  # mantissa in [2/3, 4/3)
    exponent = reduced >> 23
    f = ((reduced & 0x7FFFFF) + MANTISSA_ORIGIN).view(torch.float32) - 1.0
    f = torch.where(exponent == 0, -a, f)  # U >= 2/3: the low bits that 1 - a lost
    s = exponent.float() * _f32(MINUS_TWO_LN_2) + f * _horner(LOG, f)
    return square_root(s)


def square_root(s: Tensor) -> Tensor:
    """The correctly rounded root of positive normal float32 values, which torch.sqrt gives on few devices.

    s = M 4^q with integers 2^46 <= M < 2^48, so the root is R 2^q with the R of 24 bits that is nearest to sqrt(M):
    R^2 - R < M <= R^2 + R. torch's root is at most two such steps away. float64 would do, but some devices lack it.
    """
    bits = s.view(torch.int32).long()
    exponent = bits >> 23
    shift = 24 - (exponent & 1)
    m = ((bits & 0x7FFFFF) + 0x800000) << shift
    lowest = (((exponent - shift - 150) >> 1) + 149) << 23  # the bits of R 2^q are these plus R
    r = torch.sqrt(s).view(torch.int32).long() - lowest
    for _ in range(2):
        r = r + (m > r * r + r).long() - (m <= r * r - r).long()
    return (lowest + r).int().view(torch.float32)


def _cosine_sine(word: Tensor) -> tuple[Tensor, Tensor]:
    """cos and sin of 2 pi (word + 1/2) / 2^32."""
    quarter = (((word.long() & _WORD) + 0x20000000) >> 30).int()
    t = ((word << 2) | 2).float() * 2.0**-32  # quarter turns in [-1/2, 1/2]
    w = t * t
    sine = _horner(SINE, w) * t
    cosine = _horner(COSINE, w)
    odd = (quarter & 1) != 0
    c, d = torch.where(odd, sine, cosine), torch.where(odd, cosine, sine)
    return _flip_sign(c, (quarter + 1) & 2), _flip_sign(d, quarter & 2)


def _flip_sign(value: Tensor, two_if_negative: Tensor) -> Tensor:
    return (value.view(torch.int32) ^ (two_if_negative << 30)).view(torch.float32)


def _horner(coefficients: tuple[int, ...], x: Tensor) -> Tensor:
    """Polynomial with coefficients given lowest power first, as float32 bit patterns."""
    total = torch.full_like(x, _f32(coefficients[-1]))
    for bits in reversed(coefficients[:-1]):
        total = total * x + _f32(bits)
    return total


def _f32(bits: int) -> float:
    return torch.tensor(bits, dtype=torch.int64).to(torch.int32).view(torch.float32).item()


def _as_int32(word: Tensor) -> Tensor:
    return torch.where(word >= 2**31, word - 2**32, word).int()
