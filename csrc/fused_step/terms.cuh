// What a row says about one sample, prepared once per block in shared memory: the coefficients by
// meaning, and the terms that are used, as lists without gaps.
//
// The row itself stays in device memory and is read by every launch, so that a captured CUDA graph
// sees it change.
#pragma once

#include "common/vec128.cuh"
#include "fused_step/fused_step_math.h"

namespace genie::inline GENIE_ISA {

// One term's coefficient in each of the sums that run side by side: the y_h, or x' and aux'.
template <class T, int kSums>
struct Coefficients {
  T c[kSums];

  __device__ __forceinline__ bool used() const {
    bool any = false;
#pragma unroll
    for (int s = 0; s < kSums; ++s) any = any || c[s] != T(0);
    return any;
  }
};

// Four sums of products side by side, one per element of a quad.
template <class T>
struct QuadSum {
  Quad<T> total = {{T(-0.0), T(-0.0), T(-0.0), T(-0.0)}};  // the exact identity of IEEE addition
  bool empty = true;

  __device__ __forceinline__ Quad<T> value() const { return empty ? Quad<T>{} : total; }
};

template <class T, int kSums>
__device__ __forceinline__ void add(QuadSum<T> (&sums)[kSums], const Coefficients<T, kSums>& of,
                                    const Quad<T>& value) {
#pragma unroll
  for (int s = 0; s < kSums; ++s) {
#pragma unroll
    for (int i = 0; i < kQuad; ++i) {
      sums[s].total.v[i] = select_product(sums[s].total.v[i], of.c[s], value.v[i]);
    }
    sums[s].empty = sums[s].empty && of.c[s] == T(0);
  }
}

template <class T, int kSums, int kMax>
struct TermList {
  int count;
  SampleView view[kMax];
  Coefficients<T, kSums> of[kMax];
};

template <class T, int kSums>
struct SampleTerms {
  SampleView x, aux, out, aux_out, stored[kSums], x_in;
  Coefficients<T, kSums> of_x_in_y, of_x, of_aux, of_y[kSums], of_draw[kMaxDraws];
  T bound[kSums], scale[kSums], feed;
  TermList<T, kSums, kMaxOutputs> outputs;
  TermList<T, kSums, kMaxHistory> history;
};

// The coefficients first[0], first[step], ... of the `active` sums; the sums beyond have zero.
template <class T, int kSums>
__device__ __forceinline__ Coefficients<T, kSums> read_coefficients(const T* first, int step,
                                                                    int active) {
  Coefficients<T, kSums> of;
#pragma unroll
  for (int s = 0; s < kSums; ++s) of.c[s] = s < active ? first[s * step] : T(0);
  return of;
}

// One warp, one lane per term; terms that no sum uses are left out.
template <class T, int kSums, int kMax>
__device__ void read_terms(const T* first, int step, int active, const Samples* tensors, int count,
                           int64_t sample, TermList<T, kSums, kMax>& list) {
  static_assert(kMax <= kWarp);
  const int lane = threadIdx.x;
  const auto of = read_coefficients<T, kSums>(first + lane, step, lane < count ? active : 0);
  const unsigned used = __ballot_sync(~0u, of.used());
  if (of.used()) {
    const int slot = __popc(used & ((1u << lane) - 1));
    list.view[slot] = sample_of(tensors[lane], sample);
    list.of[slot] = of;
  }
  if (lane == 0) list.count = __popc(used);
}

// By all threads of the block; the first warp does the work.
template <class T, int kSums>
__device__ void read_row(const FusedStep& call, int64_t sample, SampleTerms<T, kSums>& terms) {
  const ColumnLayout layout = column_layout(call);
  const int width = layout.convert_width, step = layout.combine_width;
  const int states = call.aux_out.present ? 2 : 1, aux = call.aux.present ? 1 : 0;
  const T* row = static_cast<const T*>(call.row) + sample * call.row_stride;
  const T* column = row + layout.combine_begin;
  __syncthreads();  // the previous sample is done with its terms
  if (threadIdx.x < kWarp) {
    read_terms(row + 1, width, call.converted, call.output, call.outputs, sample, terms.outputs);
    read_terms(column + 1 + aux + call.converted, step, states, call.history, call.history_count,
               sample, terms.history);
  }
  if (threadIdx.x == 0) {
    terms.x = sample_of(call.x, sample);
    terms.aux = sample_of(call.aux, sample);
    terms.out = sample_of(call.out, sample);
    terms.aux_out = sample_of(call.aux_out, sample);
    for (int h = 0; h < kSums; ++h) terms.stored[h] = sample_of(call.stored[h], sample);
    terms.x_in = sample_of(call.x_in, sample);
    terms.of_x_in_y = read_coefficients<T, kSums>(row, width, call.converted);
    terms.of_x = read_coefficients<T, kSums>(column, step, states);
    terms.of_aux = read_coefficients<T, kSums>(column + 1, step, aux ? states : 0);
    for (int h = 0; h < kSums; ++h) {
      const bool exists = h < call.converted;
      terms.of_y[h] = read_coefficients<T, kSums>(column + 1 + aux + h, step, exists ? states : 0);
      terms.bound[h] = exists ? row[(h + 1) * width - 2] : T(0);
      terms.scale[h] = exists ? row[(h + 1) * width - 1] : T(0);
    }
    for (int d = 0; d < kMaxDraws; ++d) {
      const T* of_draw = column + step - call.draws + d;
      terms.of_draw[d] = read_coefficients<T, kSums>(of_draw, step, d < call.draws ? states : 0);
    }
    terms.feed = row[layout.feed];
  }
  __syncthreads();
}

// The terms of a list, fetched kGroup at a time so that their loads are in flight together.
template <class T, int kGroup, Access kAccess>
struct Fetched {
  Raw<T> raw[kGroup];

  template <int kSums, int kMax>
  __device__ __forceinline__ void fetch_group(const TermList<T, kSums, kMax>& list, int begin,
                                              int64_t element, int64_t elements) {
#pragma unroll
    for (int g = 0; g < kGroup; ++g) {
      if (begin + g >= list.count) break;
      raw[g] = fetch<T, kAccess>(list.view[begin + g], element, elements);
    }
  }

  // Adds all terms; the first group is fetched already.
  template <int kSums, int kMax>
  __device__ __forceinline__ void add_all(const TermList<T, kSums, kMax>& list, int64_t element,
                                          int64_t elements, QuadSum<T> (&sums)[kSums]) {
#pragma unroll 1
    for (int begin = 0; begin < list.count; begin += kGroup) {
      if (begin != 0) fetch_group(list, begin, element, elements);
#pragma unroll
      for (int g = 0; g < kGroup; ++g) {
        if (begin + g >= list.count) break;
        add(sums, list.of[begin + g], decode<T, kAccess>(raw[g], list.view[begin + g].dtype));
      }
    }
  }
};

}  // namespace genie::inline GENIE_ISA
