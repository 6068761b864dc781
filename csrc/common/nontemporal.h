// Stores past the caches: they spare reading the lines that they fill. For results larger than a
// cache, of which the reader would find nothing there anyway.
#pragma once

#include <cstdint>
#include <cstring>

#ifdef __SSE2__
#include <immintrin.h>
#endif

#include "common/arithmetic.h"

namespace genie::inline GENIE_ISA {

inline constexpr int64_t kCacheLine = 64, kLargerThanCaches = int64_t{1} << 24;

#if defined __AVX512F__
using Register = __m512i;
inline void store_nontemporal(Register* to, Register value) { _mm512_stream_si512(to, value); }
#elif defined __AVX__
using Register = __m256i;
inline void store_nontemporal(Register* to, Register value) { _mm256_stream_si256(to, value); }
#elif defined __SSE2__
using Register = __m128i;
inline void store_nontemporal(Register* to, Register value) { _mm_stream_si128(to, value); }
#endif

// Both on cache lines, bytes a multiple of them.
inline void copy_nontemporal(const void* from, void* to, size_t bytes) {
#ifdef __SSE2__
  for (size_t i = 0; i < bytes / sizeof(Register); ++i)
    store_nontemporal(static_cast<Register*>(to) + i, static_cast<const Register*>(from)[i]);
#else
  std::memcpy(to, from, bytes);
#endif
}

// Before another thread is told that they are done.
inline void finish_nontemporal_stores() {
#ifdef __SSE2__
  _mm_sfence();
#endif
}

}  // namespace genie::inline GENIE_ISA
