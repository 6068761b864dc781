// What the native code knows of a tensor: an address, a dtype and the distance between samples.
#pragma once

#include <cstdint>

namespace genie {

enum class DType : int32_t { f32 = 0, f64 = 1, f16 = 2, bf16 = 3 };

// [batch, elements], dense within a sample. An optional tensor is there or not by what the caller
// said, never by its address: a tensor without memory is an error, not an absent one.
struct Samples {
  void* data = nullptr;
  int64_t stride = 0;  // elements from one sample to the next
  DType dtype = DType::f32;
  bool present = false;
};

// Source of in-kernel draws, in device memory so that a captured CUDA graph does not repeat its
// noise.
struct Noise {
  const int64_t* seed = nullptr;        // one value: the 64 bits of the Philox key
  const int64_t* sample_ids = nullptr;  // [batch], the low 32 bits count
  uint32_t stream = 0;
};

}  // namespace genie
