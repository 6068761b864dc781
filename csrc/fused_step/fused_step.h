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
  int32_t outputs = 0, converted = 0, history_count = 0, draws = 0;

  const void* row = nullptr;  // compute dtype
  int64_t row_stride = 0;     // 0: one row for all samples
  int64_t columns = 0;        // of the row; the layout below says how many there must be
  Noise noise;

  Samples x, aux;  // aux is optional
  Samples output[kMaxOutputs];
  Samples history[kMaxHistory];  // newest first, compute dtype
  Samples draw[kMaxDraws];       // absent: generated from noise with draw_number
  uint32_t draw_number[kMaxDraws] = {};

  Samples out, aux_out;           // aux_out is optional
  Samples stored[kMaxConverted];  // each is optional
  Samples x_in;                   // optional
  int32_t* nonfinite = nullptr;   // [batch], or null: nobody asks
};

void fused_step_cpu(const FusedStep& call, int threads);
void fused_step_cuda(const FusedStep& call, int device, void* cuda_stream);

}  // namespace genie
