// fused_step: one row of a solver's table applied to a batch. See
// genie_ext/ops/fused_step/contract.py for the columns of the row and reference.py for the
// definition; arguments arrive checked.
#pragma once

#include "common/tensor.h"

namespace genie {

inline constexpr int kMaxOutputs = 8;
inline constexpr int kMaxConverted = 2;
inline constexpr int kMaxHistory = 16;
inline constexpr int kMaxDraws = 2;

struct FusedStep {
  int64_t batch = 0;
  int64_t elements = 0;  // per sample
  bool compute_f64 = false;
  int32_t outputs = 0, converted = 0, history = 0, draws = 0;

  const void* row = nullptr;  // compute dtype
  int64_t row_stride = 0;     // 0: one row for all samples
  Noise noise;

  Samples x, aux;  // aux.data == nullptr: no second state is read
  Samples output[kMaxOutputs];
  Samples past[kMaxHistory];  // newest first, compute dtype
  Samples draw[kMaxDraws];    // data == nullptr: generated from noise with draw_number
  uint32_t draw_number[kMaxDraws] = {};

  Samples out, aux_out;  // aux_out.data == nullptr: no second state is written
  Samples stored[kMaxConverted];
  Samples x_in;
  int32_t* nonfinite = nullptr;  // [batch]
};

void fused_step_cpu(const FusedStep& call, int threads);
void fused_step_cuda(const FusedStep& call, void* stream);

}  // namespace genie
