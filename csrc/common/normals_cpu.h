// A run of normals on the CPU: Philox in vector registers, then a Box-Muller loop that the compiler
// vectorises.
#pragma once

#ifdef __SSE2__
#include <immintrin.h>
#endif

#include "common/normal.h"

namespace genie::inline GENIE_ISA {

// One counter per 64-bit lane. Only the low half of a lane means anything: the widening product
// reads nothing else.
#if defined(__AVX512F__)
using Lanes = uint64_t __attribute__((vector_size(64)));
HOST_DEVICE Lanes low_product(Lanes a, Lanes b) {
  // all lanes, but by a mask: g++ 12 warns of the form without one
  return (Lanes)_mm512_maskz_mul_epu32(0xFF, (__m512i)a, (__m512i)b);
}
#elif defined(__AVX2__)
using Lanes = uint64_t __attribute__((vector_size(32)));
HOST_DEVICE Lanes low_product(Lanes a, Lanes b) {
  return (Lanes)_mm256_mul_epu32((__m256i)a, (__m256i)b);
}
#elif defined(__SSE2__)
using Lanes = uint64_t __attribute__((vector_size(16)));
HOST_DEVICE Lanes low_product(Lanes a, Lanes b) {
  return (Lanes)_mm_mul_epu32((__m128i)a, (__m128i)b);
}
#else
using Lanes = uint64_t __attribute__((vector_size(16)));
HOST_DEVICE Lanes low_product(Lanes a, Lanes b) { return (a & 0xFFFFFFFFu) * (b & 0xFFFFFFFFu); }
#endif

inline constexpr int kLanes = sizeof(Lanes) / sizeof(uint64_t);

HOST_DEVICE Lanes all_lanes(uint32_t value) { return Lanes{} + value; }

// The counter of an element but for its block.
struct Draw {
  PhiloxKey key;
  uint32_t draw, sample, stream;
};

// kLanes blocks from `block` on; radius and angle receive (x0, x2) and (x1, x3) of each, 2 * kLanes
// words.
HOST_DEVICE void philox_lanes(const Draw& draw, uint32_t block, uint32_t* radius, uint32_t* angle) {
  Lanes x0 = all_lanes(block), x1 = all_lanes(draw.draw);
  Lanes x2 = all_lanes(draw.sample), x3 = all_lanes(draw.stream);
  for (int lane = 0; lane < kLanes; ++lane) x0[lane] += lane;
  PhiloxKey key = draw.key;
#pragma GCC unroll 10
  for (int round = 0; round < kPhiloxRounds; ++round) {
    const Lanes product0 = low_product(x0, all_lanes(kPhiloxMultiplier0));
    const Lanes product1 = low_product(x2, all_lanes(kPhiloxMultiplier1));
    x0 = (product1 >> 32) ^ x1 ^ all_lanes(key.k0);
    x1 = product1;
    x2 = (product0 >> 32) ^ x3 ^ all_lanes(key.k1);
    x3 = product0;
    key.k0 += kPhiloxKeyStep0;
    key.k1 += kPhiloxKeyStep1;
  }
  const Lanes radii = (x0 & 0xFFFFFFFFu) | (x2 << 32), angles = (x1 & 0xFFFFFFFFu) | (x3 << 32);
  __builtin_memcpy(radius, &radii, sizeof(Lanes));
  __builtin_memcpy(angle, &angles, sizeof(Lanes));
}

inline constexpr int kMaxNormals = 1024;

// z[0..count-1] = elements first .. first + count - 1; first is a multiple of 4, count at most
// kMaxNormals.
inline void fill_normals(const Draw& draw, int64_t first, int count, float* z) {
  alignas(64) uint32_t radius[kMaxNormals / 2], angle[kMaxNormals / 2];
  for (int block = 0; 4 * block < count; block += kLanes) {
    philox_lanes(draw, static_cast<uint32_t>(first / 4 + block), radius + 2 * block,
                 angle + 2 * block);
  }
  const int pairs = count / 2;
  for (int i = 0; i < pairs; ++i) {
    const NormalPair pair = box_muller(radius[i], angle[i]);
    z[2 * i] = pair.cosine;
    z[2 * i + 1] = pair.sine;
  }
  if (count % 2 != 0) z[count - 1] = box_muller(radius[pairs], angle[pairs]).cosine;
}

}  // namespace genie::inline GENIE_ISA
