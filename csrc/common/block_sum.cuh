// Sums in the order of sum_order.h, by the threads of a block together.
#pragma once

#include "common/sum_order.h"
#include "common/vec128.cuh"

namespace genie::inline GENIE_ISA {

static_assert(kThreads * kQuad == kSumBlock);

// Within a block: elements e and e + half are in threads half / kQuad apart, down to the quad
// of thread 0, which writes the result.
template <class T>
__device__ __forceinline__ void block_sum(const Quad<T>& squares, Quad<T>* shared, T* result) {
  const unsigned thread = threadIdx.x;
  shared[thread] = squares;
#pragma unroll
  for (unsigned half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (thread < half) {
#pragma unroll
      for (int i = 0; i < kQuad; ++i)
        shared[thread].v[i] = add(shared[thread].v[i], shared[thread + half].v[i]);
    }
  }
  const Quad<T>& last = shared[0];
  if (thread == 0) *result = add(add(last.v[0], last.v[2]), add(last.v[1], last.v[3]));
  __syncthreads();  // before the next block of elements is written to shared
}

// By one block for all rows of values [rows, count] together; the sums are left
// in the first column.
template <class T>
__device__ __forceinline__ void tree_sums(T* values, int64_t rows, int64_t count) {
  const int64_t stride = count;
  while (count > 1) {
    const int64_t half = half_of(count), pairs = count - half;
    for (int64_t i = threadIdx.x; i < rows * pairs; i += blockDim.x) {
      T* low = values + i / pairs * stride + i % pairs;
      *low = add(low[0], low[half]);
    }
    __syncthreads();
    count = half;
  }
}

}  // namespace genie::inline GENIE_ISA
