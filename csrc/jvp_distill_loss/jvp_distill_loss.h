// jvp_distill_loss: per sample the sum of squared residuals c2 k2 + c3 k3 - k1 - target, weighted,
// and its gradient with respect to k1, k2, k3, in one pass.
#pragma once

#include "common/tensor.h"

namespace genie {

inline constexpr int kMaps = 3;
inline constexpr int64_t kLossColumns = 4;  // of rows: c2, c3, weight, slope
inline constexpr int64_t kSumBlock = 1024;  // elements summed into one partial sum

struct JvpDistillLoss {
  int64_t batch = 0;
  int64_t elements = 0;  // per sample of target, and of each of the three maps
  bool compute_f64 = false;
  Samples maps, target;        // a sample of maps holds k1, k2, k3 one after another
  Samples gradient;            // like maps, or absent
  const void* rows = nullptr;  // [batch, kLossColumns], as all below of the compute type
  void* partials = nullptr;    // [batch * (sum_blocks + 1)], scratch
  void* losses = nullptr;      // [batch]
  void* total = nullptr;       // [1]
};

void jvp_distill_loss_cpu(const JvpDistillLoss& call, int threads);
void jvp_distill_loss_cuda(const JvpDistillLoss& call, void* stream);

}  // namespace genie
