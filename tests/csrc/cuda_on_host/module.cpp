// genie_ext._C as usual, but what it calls the CPU kernels are the CUDA kernels, compiled for the
// host.
#include "cpu_dispatch.h"
#include "fused_step/fused_step_cuda.cu"
#include "jvp_distill_loss/jvp_distill_loss_cuda.cu"
#include "normal_fill/normal_fill_cuda.cu"
#include "sum_of_squares/sum_of_squares_cuda.cu"

namespace genie {

void fused_step_cpu(const FusedStep& call, int) { fused_step_cuda(call, 0, nullptr); }

void normal_fill_cpu(const NormalFill& call, int) { normal_fill_cuda(call, 0, nullptr); }

void jvp_distill_loss_cpu(const JvpDistillLoss& call, int) {
  jvp_distill_loss_cuda(call, 0, nullptr);
}

void sum_of_squares_cpu(const SumOfSquares& call, int) { sum_of_squares_cuda(call, 0, nullptr); }

void spectral_filter_cpu(const SpectralFilter&, int) {
  throw std::runtime_error("spectral_filter has no CUDA kernel");
}

void philox_block_cpu(const uint32_t counter[4], int64_t seed, uint32_t words[4]) {
  const PhiloxWords x = philox({counter[0], counter[1], counter[2], counter[3]}, philox_key(seed));
  std::copy_n(&x.x0, 4, words);
}

}  // namespace genie
