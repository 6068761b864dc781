// Philox4x32-10 (Salmon et al. 2011), Random123's order of counter, key and result words.
#pragma once

#include "common/arithmetic.h"

namespace genie::inline GENIE_ISA {

inline constexpr int kPhiloxRounds = 10;
inline constexpr uint32_t kPhiloxMultiplier0 = 0xD2511F53, kPhiloxMultiplier1 = 0xCD9E8D57;
inline constexpr uint32_t kPhiloxKeyStep0 = 0x9E3779B9, kPhiloxKeyStep1 = 0xBB67AE85;

struct PhiloxKey {
  uint32_t k0, k1;
};

struct PhiloxWords {
  uint32_t x0, x1, x2, x3;
};

// key = the 64 bits of the seed
HOST_DEVICE PhiloxKey philox_key(int64_t seed) {
  return {static_cast<uint32_t>(seed), static_cast<uint32_t>(static_cast<uint64_t>(seed) >> 32)};
}

HOST_DEVICE PhiloxWords philox(PhiloxWords x, PhiloxKey key) {
  for (int round = 0; round < kPhiloxRounds; ++round) {
    const uint32_t high0 = multiply_high(x.x0, kPhiloxMultiplier0),
                   low0 = x.x0 * kPhiloxMultiplier0;
    const uint32_t high1 = multiply_high(x.x2, kPhiloxMultiplier1),
                   low1 = x.x2 * kPhiloxMultiplier1;
    x = {high1 ^ x.x1 ^ key.k0, low1, high0 ^ x.x3 ^ key.k1, low0};
    key.k0 += kPhiloxKeyStep0;
    key.k1 += kPhiloxKeyStep1;
  }
  return x;
}

}  // namespace genie::inline GENIE_ISA
