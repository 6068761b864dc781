// Storage types and conversions between them, each rounded once to nearest even (NaN stays NaN, its
// payload is free).
#pragma once

#include "common/arithmetic.h"

#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

namespace genie::inline GENIE_ISA {

struct Half {
  uint16_t bits;
};

struct BFloat16 {
  uint16_t bits;
};

HOST_DEVICE float widen(BFloat16 a) { return as_float(static_cast<uint32_t>(a.bits) << 16); }

#ifdef __CUDA_ARCH__

HOST_DEVICE float widen(Half a) { return __half2float(__ushort_as_half(a.bits)); }
HOST_DEVICE Half to_half(float a) { return {__half_as_ushort(__float2half_rn(a))}; }
HOST_DEVICE BFloat16 to_bfloat16(float a) { return {__bfloat16_as_ushort(__float2bfloat16_rn(a))}; }

#else

// Integer arithmetic without branches, so that loops over it are vectorised at every level of
// instruction set.
HOST_DEVICE float widen(Half a) {
  const int32_t magnitude = a.bits & 0x7FFF;
  const int32_t sign = (a.bits & 0x8000) << 16;
  const int32_t subnormal = as_int(to_float(magnitude) * 0x1p-24f);
  const int32_t rebias =
      magnitude < 0x7C00 ? 112 << 23 : 224 << 23;  // inf and NaN keep the highest exponent
  const int32_t normal = (magnitude << 13) + rebias;
  return as_float((magnitude < 0x0400 ? subnormal : normal) | sign);
}

HOST_DEVICE Half to_half(float a) {
  const int32_t magnitude = as_int(a) & 0x7FFFFFFF;
  const int32_t sign = (as_int(a) >> 16) & 0x8000;
  // the last bit of 1/2 has the size of the smallest subnormal half: the addition rounds to it
  const int32_t subnormal = as_int(as_float(magnitude) + 0.5f) - 0x3F000000;
  const int32_t normal = (magnitude + 0xFFF + ((magnitude >> 13) & 1) - (112 << 23)) >> 13;
  int32_t rounded = magnitude < 113 << 23 ? subnormal : normal;
  rounded = magnitude >= 143 << 23 ? 0x7C00 : rounded;
  rounded = magnitude > 0x7F800000 ? 0x7E00 : rounded;
  return {static_cast<uint16_t>(rounded | sign)};
}

HOST_DEVICE BFloat16 to_bfloat16(float a) {
  const uint32_t bits = static_cast<uint32_t>(as_int(a));
  const uint32_t rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
  return {static_cast<uint16_t>((bits & 0x7FFFFFFF) > 0x7F800000 ? 0x7FC0 : rounded)};
}

#endif

// Truncated, with the last bit set where inexact: rounding once more, to 16 bits, then cannot go
// astray.
HOST_DEVICE float round_to_odd(double a) {
  const float nearest = to_float(a);
  const double back = nearest;
  const bool inexact = back != a && a == a;
  const bool too_large = inexact && (a < 0 ? back < a : back > a);
  const int32_t truncated = as_int(nearest) - static_cast<int32_t>(too_large);
  return as_float(truncated | static_cast<int32_t>(inexact));
}

HOST_DEVICE void convert(float a, float& to) { to = a; }
HOST_DEVICE void convert(float a, double& to) { to = a; }
HOST_DEVICE void convert(float a, Half& to) { to = to_half(a); }
HOST_DEVICE void convert(float a, BFloat16& to) { to = to_bfloat16(a); }
HOST_DEVICE void convert(double a, float& to) { to = to_float(a); }
HOST_DEVICE void convert(double a, double& to) { to = a; }
HOST_DEVICE void convert(double a, Half& to) { to = to_half(round_to_odd(a)); }
HOST_DEVICE void convert(double a, BFloat16& to) { to = to_bfloat16(round_to_odd(a)); }
HOST_DEVICE void convert(Half a, float& to) { to = widen(a); }
HOST_DEVICE void convert(Half a, double& to) { to = widen(a); }
HOST_DEVICE void convert(BFloat16 a, float& to) { to = widen(a); }
HOST_DEVICE void convert(BFloat16 a, double& to) { to = widen(a); }

// to<float>(x), to<Half>(x), ...
template <class To, class From>
HOST_DEVICE To to(From a) {
  To result;
  convert(a, result);
  return result;
}

HOST_DEVICE bool is_finite(float a) { return (as_int(a) & 0x7FFFFFFF) < 0x7F800000; }
HOST_DEVICE bool is_finite(double a) { return a - a == 0.0; }
HOST_DEVICE bool is_finite(Half a) { return (a.bits & 0x7C00) != 0x7C00; }
HOST_DEVICE bool is_finite(BFloat16 a) { return (a.bits & 0x7F80) != 0x7F80; }

}  // namespace genie::inline GENIE_ISA
