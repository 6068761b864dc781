// Loops over one chunk of a sample between a storage type and the compute type; the compiler
// vectorises them.
#pragma once

#include "common/address.h"
#include "common/dtype.h"

namespace genie::inline GENIE_ISA {

// visit(S{}) with the C++ type S that stores a dtype
template <class Visit>
HOST_DEVICE auto with_storage(DType dtype, const Visit& visit) {
  switch (dtype) {
    case DType::f64:
      return visit(double{});
    case DType::f16:
      return visit(Half{});
    case DType::bf16:
      return visit(BFloat16{});
    default:
      return visit(float{});
  }
}

// from [dtype] -> compute type
template <class T>
inline void convert_from(DType dtype, const void* from, T* values, int count) {
  with_storage(dtype, [&](auto stored) {
    const auto* source = static_cast<const decltype(stored)*>(from);
    for (int i = 0; i < count; ++i) convert(source[i], values[i]);
  });
}

// compute type -> target [dtype]
template <class T>
inline void convert_to(DType dtype, const T* values, void* target, int count) {
  with_storage(dtype, [&](auto stored) {
    auto* stored_values = static_cast<decltype(stored)*>(target);
    for (int i = 0; i < count; ++i) convert(values[i], stored_values[i]);
  });
}

inline bool all_finite(DType dtype, const void* stored, int count) {
  return with_storage(dtype, [&](auto type) {
    const auto* values = static_cast<const decltype(type)*>(stored);
    int bad = 0;
    for (int i = 0; i < count; ++i) bad |= !is_finite(values[i]);
    return bad == 0;
  });
}

}  // namespace genie::inline GENIE_ISA
