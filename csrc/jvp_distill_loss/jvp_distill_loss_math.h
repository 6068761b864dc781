// The lines of jvp_distill_loss, each operation rounded once; the numbers are those of
// reference.py.
#pragma once

#include "common/address.h"
#include "common/dtype.h"
#include "common/sum_order.h"
#include "jvp_distill_loss/jvp_distill_loss.h"

namespace genie::inline GENIE_ISA {

// The parts of scratch: [batch, kLossColumns], [batch, sum_blocks], [batch].
template <class T>
HOST_DEVICE T* rows_in(const JvpDistillLoss& call) {
  return static_cast<T*>(call.scratch);
}
template <class T>
HOST_DEVICE T* partials_in(const JvpDistillLoss& call) {
  return rows_in<T>(call) + call.batch * kLossColumns;
}
template <class T>
HOST_DEVICE T* shares_in(const JvpDistillLoss& call) {
  return partials_in<T>(call) + call.batch * sum_blocks(call.elements);
}

HOST_DEVICE double number_in(const Samples& numbers, int64_t sample) {
  const void* address = address_of(numbers, sample);
  if (numbers.dtype == DType::f64) return *static_cast<const double*>(address);
  return *static_cast<const float*>(address);
}

// 0 row: in double, then rounded once
template <class T>
HOST_DEVICE void write_row(const JvpDistillLoss& call, int64_t sample) {
  const double gamma = number_in(call.gamma, sample);
  const double weight = call.weights.present ? number_in(call.weights, sample) : 1.0;
  const double share = call.mean ? 1.0 / static_cast<double>(call.batch) : 1.0;
  const double squared = mul(gamma, gamma);
  const double c3 = 1.0 / add(1.0, squared);
  T* column = rows_in<T>(call) + sample * kLossColumns;
  column[0] = to<T>(mul(squared, c3));
  column[1] = to<T>(c3);
  column[2] = to<T>(weight);
  column[3] = to<T>(mul(weight, mul(2.0, share)));
}

template <class T>
struct LossRow {
  T c2, c3, weight;
  T slope[kMaps];
};

template <class T>
HOST_DEVICE LossRow<T> loss_row(const JvpDistillLoss& call, int64_t sample) {
  const T* column = rows_in<T>(call) + sample * kLossColumns;
  const T c2 = column[0], c3 = column[1], slope = column[3];
  return {c2, c3, column[2], {-slope, mul(slope, c2), mul(slope, c3)}};
}

// 1 residual
template <class T>
HOST_DEVICE T residual(const LossRow<T>& row, T k1, T k2, T k3, T target) {
  return sub(sub(add(mul(row.c2, k2), mul(row.c3, k3)), k1), target);
}

// 6 total: half the slope is the weight in what is differentiated
template <class T>
HOST_DEVICE T share_of_total(const LossRow<T>& row, T sum) {
  return mul(mul(T(-0.5), row.slope[0]), sum);
}

}  // namespace genie::inline GENIE_ISA
