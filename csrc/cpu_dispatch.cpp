// From the ops' entry points to the objects compiled per instruction set.
#include "cpu_dispatch.h"

#include "common/isa.h"

namespace genie {

#define GENIE_ENTRY_POINTS                                        \
  void fused_step(const FusedStep& call, int threads);            \
  void normal_fill(const NormalFill& call, int threads);          \
  void jvp_distill_loss(const JvpDistillLoss& call, int threads); \
  void spectral_filter(const SpectralFilter& call, int threads);  \
  void sum_of_squares(const SumOfSquares& call, int threads);     \
  void philox_block(const uint32_t counter[4], int64_t seed, uint32_t words[4]);

namespace baseline {
GENIE_ENTRY_POINTS
}
namespace avx2 {
GENIE_ENTRY_POINTS
}
namespace avx512 {
GENIE_ENTRY_POINTS
}

#ifdef GENIE_X86_LEVELS
#define GENIE_DISPATCH(function, ...)         \
  switch (selected_isa()) {                   \
    case Isa::avx512:                         \
      return avx512::function(__VA_ARGS__);   \
    case Isa::avx2:                           \
      return avx2::function(__VA_ARGS__);     \
    default:                                  \
      return baseline::function(__VA_ARGS__); \
  }
#else
#define GENIE_DISPATCH(function, ...) return baseline::function(__VA_ARGS__);
#endif

void fused_step_cpu(const FusedStep& call, int threads) {
  GENIE_DISPATCH(fused_step, call, threads)
}

void normal_fill_cpu(const NormalFill& call, int threads) {
  GENIE_DISPATCH(normal_fill, call, threads)
}

void jvp_distill_loss_cpu(const JvpDistillLoss& call, int threads) {
  GENIE_DISPATCH(jvp_distill_loss, call, threads)
}

void spectral_filter_cpu(const SpectralFilter& call, int threads) {
  GENIE_DISPATCH(spectral_filter, call, threads)
}

void sum_of_squares_cpu(const SumOfSquares& call, int threads) {
  GENIE_DISPATCH(sum_of_squares, call, threads)
}

void philox_block_cpu(const uint32_t counter[4], int64_t seed, uint32_t words[4]) {
  GENIE_DISPATCH(philox_block, counter, seed, words)
}

}  // namespace genie
