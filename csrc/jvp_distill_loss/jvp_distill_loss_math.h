// The lines of jvp_distill_loss, each operation rounded once; the numbers are those of
// reference.py.
#pragma once

#include "common/arithmetic.h"
#include "jvp_distill_loss/jvp_distill_loss.h"

namespace genie::inline GENIE_ISA {

template <class T>
struct LossRow {
  T c2, c3, weight;
  T slope[kMaps];
};

template <class T>
HOST_DEVICE LossRow<T> loss_row(const JvpDistillLoss& call, int64_t sample) {
  const T* column = static_cast<const T*>(call.rows) + sample * kLossColumns;
  const T c2 = column[0], c3 = column[1], slope = column[3];
  return {c2, c3, column[2], {-slope, mul(slope, c2), mul(slope, c3)}};
}

// 1 residual
template <class T>
HOST_DEVICE T residual(const LossRow<T>& row, T k1, T k2, T k3, T target) {
  return sub(sub(add(mul(row.c2, k2), mul(row.c3, k3)), k1), target);
}

HOST_DEVICE int64_t sum_blocks(int64_t elements) { return (elements + kSumBlock - 1) / kSumBlock; }

// 6 total: half the slope is the weight in what is differentiated
template <class T>
HOST_DEVICE T share_of_total(const LossRow<T>& row, T sum) {
  return mul(mul(T(-0.5), row.slope[0]), sum);
}

// 4 sum: values i and i + half_of(count) are added, then the half_of(count) sums likewise.
// The largest power of two below count >= 2.
HOST_DEVICE int64_t half_of(int64_t count) {
  int64_t half = 1;
  while (2 * half < count) half *= 2;
  return half;
}

}  // namespace genie::inline GENIE_ISA
