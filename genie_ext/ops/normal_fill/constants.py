"""Numbers of the generator: Philox (Salmon et al. 2011) and minimax polynomials as float32 bit patterns, lowest power
first.

csrc/common/philox.h and normal.h hold the same numbers for C++ and CUDA; tests compare the bits of what they produce.
"""

from __future__ import annotations

PHILOX_ROUNDS = 10
PHILOX_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
PHILOX_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)

MANTISSA_ORIGIN = 0x3F2AAAAB  # 2/3
MINUS_TWO_LN_2 = 0xBFB17218
# -2 ln(1 + f) / f on [-1/3, 1/3], error 5.6e-8
LOG = (
    0xC0000000, 0x3F7FFFEC, 0xBF2AAA5F, 0x3F0009F1, 0xBECCF6BE, 0x3EA822F6, 0xBE8E8ECD, 0x3E9D67AA, 0xBE932945,
)  # fmt: skip
# sin(pi t / 2) / t in t^2 on [-1/2, 1/2], error 5.0e-9
SINE = (0x3FC90FDA, 0xBF255DB4, 0x3DA324B6, 0xBB953B1C)
# cos(pi t / 2) in t^2 on [-1/2, 1/2], error 4.1e-10
COSINE = (0x3F800000, 0xBF9DE9E6, 0x3E81E0D7, 0xBCAAD8A3, 0x3A6A3EA3)
