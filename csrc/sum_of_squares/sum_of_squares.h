// sum_of_squares: per sample the sum of the squares of its elements, in double, in the order of
// common/sum_order.h.
#pragma once

#include "common/tensor.h"

namespace genie {

struct SumOfSquares {
  int64_t batch = 0;
  int64_t elements = 0;  // per sample
  Samples x;
  double* partials = nullptr;  // [batch, sum_blocks]
  double* out = nullptr;       // [batch]
};

void sum_of_squares_cpu(const SumOfSquares& call, int threads);
void sum_of_squares_cuda(const SumOfSquares& call, int device, void* cuda_stream);

}  // namespace genie
