// The order of every long sum: blocks of kSumBlock elements, each a tree, then a tree over the
// blocks. A tree adds values i and i + half_of(count), then the half_of(count) sums likewise. Same
// order as genie_ext/ops/tree_sum.py.
#pragma once

#include "common/arithmetic.h"

namespace genie::inline GENIE_ISA {

inline constexpr int64_t kSumBlock = 1024;  // elements summed into one partial sum

HOST_DEVICE int64_t sum_blocks(int64_t elements) { return (elements + kSumBlock - 1) / kSumBlock; }

// The largest power of two below count >= 2.
HOST_DEVICE int64_t half_of(int64_t count) {
  int64_t half = 1;
  while (2 * half < count) half *= 2;
  return half;
}

}  // namespace genie::inline GENIE_ISA
