// normal_fill: counter-based standard normals, a function of (seed, sample id, draw, stream,
// element) alone.
#pragma once

#include "common/tensor.h"

namespace genie {

struct NormalFill {
  int64_t batch = 0;
  int64_t elements = 0;  // per sample
  Samples out;
  Noise noise;
  uint32_t draw_number = 0;
};

void normal_fill_cpu(const NormalFill& call, int threads);
void normal_fill_cuda(const NormalFill& call, int device, void* cuda_stream);

// Why the kernels of this binary cannot run on the current device (no code for its architecture, a
// driver that is too old, ...), in CUDA's words; "" if they can.
const char* cuda_problem();

}  // namespace genie
