// spectral_filter by small matrix products: out = A z + Ph' (E * (Ph (A z) Pw')) Pw per channel.
#pragma once

#include "common/tensor.h"

namespace genie {

// All matrices are row-major and of the compute type; those whose rows are read as vectors are
// padded with zeros to kSpectralPad bytes.
inline constexpr int64_t kSpectralPad = 64;

struct SpectralFilter {
  int64_t batch = 0, channels = 0, height = 0, width = 0;
  int64_t block_rows = 0, block_columns = 0;  // of the block that is changed
  bool compute_f64 = false;
  bool keeps = false;          // the result is added to A z, else it replaces it
  bool skips_forward = false;  // z lies in the transform's plane already
  bool space_last = false;     // A multiplies the result, not z
  bool shared_gain = false, shared_space = false;  // one for all channels
  Samples z, out;                                  // z absent: normals of noise
  const void* rows = nullptr;                      // Ph [block_rows, height]
  const void* rows_transposed = nullptr;           // [height, block_rows]
  const void* columns = nullptr;                   // Pw [block_columns, padded width]
  const void* columns_transposed = nullptr;        // [width, padded block_columns]
  const void* gain = nullptr;   // E [1 or channels, block_rows, padded block_columns]
  const void* space = nullptr;  // A [1 or channels, height, width]; null for ones
  Noise noise;
  uint32_t draw_number = 0;
};

void spectral_filter_cpu(const SpectralFilter& call, int threads);

}  // namespace genie
