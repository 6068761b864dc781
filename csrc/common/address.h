// Where an element of a tensor lies in memory.
#pragma once

#include "common/arithmetic.h"
#include "common/tensor.h"

namespace genie::inline GENIE_ISA {

HOST_DEVICE int log2_size(DType dtype) {
  return dtype == DType::f64 ? 3 : dtype == DType::f32 ? 2 : 1;
}

HOST_DEVICE void* address_of(const Samples& tensor, int64_t sample, int64_t element = 0) {
  return static_cast<char*>(tensor.data) +
         ((sample * tensor.stride + element) << log2_size(tensor.dtype));
}

}  // namespace genie::inline GENIE_ISA
