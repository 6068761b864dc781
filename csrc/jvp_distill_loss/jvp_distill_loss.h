// jvp_distill_loss: per sample the sum of squared residuals c2 k2 + c3 k3 - k1 - target, weighted,
// and its gradient with respect to k1, k2, k3, in one pass.
#pragma once

#include "common/tensor.h"

namespace genie {

inline constexpr int kMaps = 3;
inline constexpr int64_t kLossColumns = 4;  // of a row: c2, c3, weight, slope

struct JvpDistillLoss {
  int64_t batch = 0;
  int64_t elements = 0;  // per sample of target, and of each of the three maps
  bool compute_f64 = false;
  bool mean = false;        // the total is the mean of the losses, else their sum
  Samples maps, target;     // a sample of maps holds k1, k2, k3 one after another
  Samples gamma, weights;   // [batch], f32 or f64; absent weights are one
  Samples gradient;         // like maps, or absent
  void* scratch = nullptr;  // [batch * (kLossColumns + sum_blocks + 1)] of the compute type
  void* losses = nullptr;   // [batch] of the compute type
  void* total = nullptr;    // [1] of the compute type
};

void jvp_distill_loss_cpu(const JvpDistillLoss& call, int threads);
void jvp_distill_loss_cuda(const JvpDistillLoss& call, int device, void* cuda_stream);

}  // namespace genie
