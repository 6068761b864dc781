// spectral_filter by small matrix products: out = A z + T^-1[E . T[A z]] per channel, or without A
// z in the sum. The transform sees the even and the odd part of each axis apart.
#pragma once

#include "common/tensor.h"

namespace genie {

// All matrices are row-major and of the compute type; those whose rows are read as vectors are
// padded with zeros to kSpectralPad bytes.
inline constexpr int64_t kSpectralPad = 64;

// Of one axis: the frequencies of one parity that are changed, and the elements of its part.
struct SpectralAxis {
  int64_t frequencies = 0;
  const void* matrix = nullptr;
  const void* transposed = nullptr;
};

struct SpectralFilter {
  int64_t batch = 0, channels = 0, height = 0, width = 0;
  bool compute_f64 = false;
  bool wrapped = false;        // a DFT, else a DCT
  bool keeps = false;          // the result is added to A z, else it replaces it
  bool skips_forward = false;  // z lies in the transform's plane already
  bool space_last = false;     // A multiplies the result, not z
  bool shared_gain = false, shared_space = false;  // one for all channels
  Samples z, out;                                  // z absent: normals of noise
  SpectralAxis rows[2];  // even, odd: [frequencies, height's part], transposed the other way
  SpectralAxis
      columns[2];  // [frequencies, padded width's part], [width's part, padded frequencies]
  const void* gain[2][2] = {};  // E [1 or channels, rows' frequencies, padded columns' frequencies]
  const void* space = nullptr;  // A [1 or channels, height, width]; null for ones
  Noise noise;
  uint32_t draw_number = 0;
};

void spectral_filter_cpu(const SpectralFilter& call, int threads);

}  // namespace genie
