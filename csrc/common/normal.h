// Two standard normals from two random words: Box-Muller in float32 from IEEE add, multiply and
// square root alone. Same names, numbers and order of operations as
// genie_ext/ops/normal_fill/reference.py and constants.py.
#pragma once

#include "common/philox.h"

namespace genie::inline GENIE_ISA {

struct NormalPair {
  float cosine, sine;
};

struct Normal4 {
  float z[4];
};

// Polynomial in x; coefficients as float32 bit patterns, lowest power first.
template <class... Higher>
HOST_DEVICE float horner(float x, uint32_t lowest, Higher... higher) {
  if constexpr (sizeof...(higher) == 0) {
    return as_float(lowest);
  } else {
    return add(mul(horner(x, higher...), x), as_float(lowest));
  }
}

// sqrt(-2 ln U), U = (word + 1/2) / 2^32
HOST_DEVICE float radius(uint32_t word) {
  constexpr int32_t kMantissaOrigin = 0x3F2AAAAB;  // 2/3
  constexpr uint32_t kMinusTwoLn2 = 0xBFB17218;
  const int32_t sign = static_cast<int32_t>(word) >> 31;
  const int32_t k =
      static_cast<int32_t>(word) ^ sign;  // 0 <= k < 2^31: only signed conversions round
  const float a = mul(add(to_float(k), 0.5f), 0x1p-32f);
  const float u = sign != 0 ? sub(1.0f, a) : a;
  const int32_t reduced = as_int(u) - kMantissaOrigin;  // mantissa in [2/3, 4/3)
  const int32_t exponent = reduced >> 23;
  float f = sub(as_float((reduced & 0x7FFFFF) + kMantissaOrigin), 1.0f);
  f = exponent == 0 ? -a : f;  // U >= 2/3: the low bits that 1 - a lost
  // -2 ln(1 + f) / f on [-1/3, 1/3], error 5.6e-8
  const float log_over_f = horner(f, 0xC0000000u, 0x3F7FFFECu, 0xBF2AAA5Fu, 0x3F0009F1u,
                                  0xBECCF6BEu, 0x3EA822F6u, 0xBE8E8ECDu, 0x3E9D67AAu, 0xBE932945u);
  return square_root(add(mul(to_float(exponent), as_float(kMinusTwoLn2)), mul(f, log_over_f)));
}

// cos and sin of 2 pi (word + 1/2) / 2^32
HOST_DEVICE NormalPair cosine_sine(uint32_t word) {
  const int32_t quarter = static_cast<int32_t>((word + 0x20000000u) >> 30);
  const float t = mul(to_float(static_cast<int32_t>((word << 2) | 2u)),
                      0x1p-32f);  // quarter turns in [-1/2, 1/2]
  const float w = mul(t, t);
  // sin(pi t / 2) / t in t^2, error 5.0e-9; cos(pi t / 2) in t^2, error 4.1e-10
  const float sine = mul(horner(w, 0x3FC90FDAu, 0xBF255DB4u, 0x3DA324B6u, 0xBB953B1Cu), t);
  const float cosine = horner(w, 0x3F800000u, 0xBF9DE9E6u, 0x3E81E0D7u, 0xBCAAD8A3u, 0x3A6A3EA3u);
  const bool odd = (quarter & 1) != 0;
  const float c = odd ? sine : cosine, d = odd ? cosine : sine;
  return {as_float(as_int(c) ^ (((quarter + 1) & 2) << 30)),
          as_float(as_int(d) ^ ((quarter & 2) << 30))};
}

HOST_DEVICE NormalPair box_muller(uint32_t radius_word, uint32_t angle_word) {
  const float r = radius(radius_word);
  const NormalPair unit = cosine_sine(angle_word);
  return {mul(r, unit.cosine), mul(r, unit.sine)};
}

// Elements 4 block .. 4 block + 3 of one sample's draw: counter = (block, draw, sample id, stream).
HOST_DEVICE Normal4 normal4(PhiloxKey key, uint32_t block, uint32_t draw, uint32_t sample,
                            uint32_t stream) {
  const PhiloxWords word = philox({block, draw, sample, stream}, key);
  const NormalPair first = box_muller(word.x0, word.x1), second = box_muller(word.x2, word.x3);
  return {{first.cosine, first.sine, second.cosine, second.sine}};
}

}  // namespace genie::inline GENIE_ISA
