// Threads of the CPU kernels, each under IEEE defaults: round to nearest even, subnormals kept.
#pragma once

#include <omp.h>

#include <cfenv>

#include "common/arithmetic.h"

namespace genie::inline GENIE_ISA {

// torch.set_flush_denormal and other libraries change the mode of a thread; the same bits need the
// same mode.
class FloatingPointDefaults {
 public:
  FloatingPointDefaults() {
    fegetenv(&saved_);
    fesetenv(FE_DFL_ENV);
  }
  ~FloatingPointDefaults() { fesetenv(&saved_); }
  FloatingPointDefaults(const FloatingPointDefaults&) = delete;
  FloatingPointDefaults& operator=(const FloatingPointDefaults&) = delete;

 private:
  fenv_t saved_;
};

// body(first, last) on every thread, over contiguous and equal parts of [0, count).
template <class Body>
void parallel_ranges(int64_t count, int threads, const Body& body) {
  if (threads > count) threads = static_cast<int>(count);
  if (threads <= 1) {
    FloatingPointDefaults defaults;
    body(int64_t{0}, count);
    return;
  }
#pragma omp parallel num_threads(threads)
  {
    FloatingPointDefaults defaults;
    const int64_t thread = omp_get_thread_num(), team = omp_get_num_threads();
    body(count * thread / team, count * (thread + 1) / team);
  }
}

}  // namespace genie::inline GENIE_ISA
