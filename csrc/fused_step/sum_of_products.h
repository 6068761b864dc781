// out[i] = c_0 v_0[i] + c_1 v_1[i] + ..., all terms of an element in registers.
#pragma once

#include "fused_step/sample_row.h"

namespace genie::inline GENIE_ISA {

inline constexpr int kTermsPerLoop = 8;

// N terms of the list from `begin` on; continues the partial sum in out unless begin is 0. out may
// be one of the values.
template <int N, bool kContinue, class T>
inline void sum_terms(const Terms<T>& terms, int begin, const T* const* value, T* out, int count) {
  T c[N];
  const T* v[N];
  for (int k = 0; k < N; ++k) {
    c[k] = terms.coefficient[begin + k];
    v[k] = value[terms.source[begin + k]];
  }
#pragma GCC ivdep
  for (int i = 0; i < count; ++i) {
    T total = kContinue ? add_product(out[i], c[0], v[0][i]) : product(c[0], v[0][i]);
#pragma GCC unroll 8
    for (int k = 1; k < N; ++k) total = add_product(total, c[k], v[k][i]);
    out[i] = total;
  }
}

template <bool kContinue, int N = kTermsPerLoop, class T>
inline void sum_some(const Terms<T>& terms, int begin, const T* const* value, T* out, int count) {
  if constexpr (N > 1) {
    if (terms.count - begin < N) return sum_some<kContinue, N - 1>(terms, begin, value, out, count);
  }
  sum_terms<N, kContinue>(terms, begin, value, out, count);
}

template <class T>
inline void sum_of_products(const Terms<T>& terms, const T* const* value, T* out, int count) {
  if (terms.count == 0) {
    for (int i = 0; i < count; ++i) out[i] = T(0);
    return;
  }
  sum_some<false>(terms, 0, value, out, count);
  for (int begin = kTermsPerLoop; begin < terms.count; begin += kTermsPerLoop) {
    sum_some<true>(terms, begin, value, out, count);
  }
}

}  // namespace genie::inline GENIE_ISA
