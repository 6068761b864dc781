// Sums in the order of sum_order.h, on the CPU.
#pragma once

#include "common/sum_order.h"

namespace genie::inline GENIE_ISA {

// Overwrites the values.
template <class T>
T tree_sum(T* values, int64_t count) {
  if (count == 0) return 0;
  while (count > 1) {
    const int64_t half = half_of(count);
    T* __restrict low = values;
    const T* __restrict high = values + half;
    for (int64_t i = 0; i < count - half; ++i) low[i] = add(low[i], high[i]);
    count = half;
  }
  return values[0];
}

// The same tree over the kWays values that are stride apart, in registers.
template <int kWays, class T>
T sum_of_ways(const T* values, int64_t stride) {
  if constexpr (kWays == 1) {
    return *values;
  } else {
    return add(sum_of_ways<kWays / 2>(values, 2 * stride),
               sum_of_ways<kWays / 2>(values + stride, 2 * stride));
  }
}

// Overwrites the values. Of a whole block four levels at a time: else the tree takes a third
// as long as the rest.
template <class T>
T block_sum(T* __restrict values, int count) {
  constexpr int kWays = 16, kSums = kSumBlock / kWays;
  if (count != kSumBlock) return tree_sum(values, count);
  T sums[kSums];
  for (int i = 0; i < kSums; ++i) sums[i] = sum_of_ways<kWays>(values + i, kSums);
  return tree_sum(sums, kSums);
}

}  // namespace genie::inline GENIE_ISA
