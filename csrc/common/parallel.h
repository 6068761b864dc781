// Threads of the CPU kernels, each under IEEE defaults: round to nearest even, subnormals kept.
#pragma once

#include <omp.h>

#include <cfenv>

#ifdef __SSE2__
#include <immintrin.h>
#endif

#include "common/arithmetic.h"

namespace genie::inline GENIE_ISA {

// torch.set_flush_denormal and other libraries change the mode of a thread; the same bits need the
// same mode.
class FloatingPointDefaults {
 public:
#ifdef __SSE2__
  // The register that vector code and scalar code of x86-64 obey; the whole environment takes ten
  // times as long.
  FloatingPointDefaults() : saved_(_mm_getcsr()) { _mm_setcsr(kDefault); }
  ~FloatingPointDefaults() { _mm_setcsr(saved_); }
#else
  FloatingPointDefaults() {
    fegetenv(&saved_);
    fesetenv(FE_DFL_ENV);
  }
  ~FloatingPointDefaults() { fesetenv(&saved_); }
#endif
  FloatingPointDefaults(const FloatingPointDefaults&) = delete;
  FloatingPointDefaults& operator=(const FloatingPointDefaults&) = delete;

 private:
#ifdef __SSE2__
  static constexpr unsigned kDefault = 0x1F80;  // all exceptions masked, to nearest even
  unsigned saved_;
#else
  fenv_t saved_;
#endif
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
